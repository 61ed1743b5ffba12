"""Tiny data sets in exactly the formats in which the real ones are published."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from scipy.io import savemat

from tests.stream.protocols import python_2

NAMES = ("apple", "bear", "cup")


def picture(path: Path, value: int = 0) -> Path:
    """A small picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (value % 256, 40, 90)).save(path)
    return path


def tree(root: Path, counts: Mapping[str, int]) -> Path:
    """A folder a class with so many pictures."""
    for label, count in counts.items():
        for number in range(count):
            picture(root / label / f"{number:03d}.jpg", number)
    return root


def cifar_rows(each: int) -> tuple[np.ndarray, list[int]]:
    """Rows of red, green and blue planes, class after class in turn; each pixel tells its channel and row."""
    count = each * len(NAMES)
    rows_NCHW = np.zeros((count, 3, 32, 32), np.uint8)
    rows_NCHW[:] = np.arange(count).reshape(-1, 1, 1, 1) + np.array([0, 50, 100]).reshape(1, 3, 1, 1)
    rows_NCHW[:, 0, 0, 1] = 255
    return rows_NCHW.reshape(count, -1), [number % len(NAMES) for number in range(count)]


BY_PYTHON_3 = partial(pickle.dumps, protocol=2)


def cifar_pickles(root: Path, each: int = 5, dumps: Callable[[object], bytes] = BY_PYTHON_3) -> Path:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    (folder / "meta").write_bytes(dumps({b"fine_label_names": [name.encode() for name in NAMES]}))
    for part in ("train", "test"):
        data, labels = cifar_rows(each)
        names = [b"%05d.png" % number for number in range(len(labels))]
        labelled = {
            b"batch_label": f"{part}ing batch 1 of 1".encode(),
            b"fine_labels": labels,
            b"coarse_labels": labels,
        }
        (folder / part).write_bytes(dumps({b"filenames": names, **labelled, b"data": data}))
    return root


def cifar_pickles_of_python_2(root: Path, each: int = 5) -> Path:
    return cifar_pickles(root, each, python_2.dumps)


def cifar_binary(root: Path, each: int = 5) -> Path:
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    (folder / "fine_label_names.txt").write_text("\n".join(NAMES) + "\n")
    for part in ("train", "test"):
        data, labels = cifar_rows(each)
        rows = [bytes([0, label]) + row.tobytes() for row, label in zip(data, labels, strict=True)]
        (folder / f"{part}.bin").write_bytes(b"".join(rows))
    return root


def imagenet_r_lists(root: Path, listed: Mapping[str, Sequence[str]]) -> None:
    """Split lists: `data/imagenet-r/WNID/FILE` and class numbers."""
    for part, entries in listed.items():
        content = {"data": [f"data/imagenet-r/{entry}" for entry in entries], "targets": [0] * len(entries)}
        (root / f"imagenet-r_{part}.yaml").write_text(yaml.safe_dump(content))


def cub(root: Path) -> Path:
    """Two classes of three images; the lists are in different orders, so that a join by line would be wrong."""
    folder = root / "CUB_200_2011"
    paths = {f"{n}": f"{1 + n // 4:03d}.Bird_{n // 4}/Bird_{n}.jpg" for n in range(1, 7)}
    for number, path in paths.items():
        picture(folder / "images" / path, int(number))
    (folder / "classes.txt").write_text("1 001.Bird_0\n2 002.Bird_1\n")
    (folder / "images.txt").write_text("".join(f"{n} {path}\n" for n, path in paths.items()))
    (folder / "image_class_labels.txt").write_text("".join(f"{n} {1 + n // 4}\n" for n in (6, 5, 4, 3, 2, 1)))
    (folder / "train_test_split.txt").write_text("".join(f"{n} {int(n % 3 != 0)}\n" for n in (2, 1, 4, 3, 6, 5)))
    (folder / "bounding_boxes.txt").write_text("".join(f"{n} 1.0 1.0 5.0 5.0\n" for n in paths))
    return root


CARS = ("Ram C/V Cargo Van Minivan 2012", "AM General Hummer SUV 2000")
"""In the order of their numbers."""


def _structs(rows: Sequence[tuple[object, ...]], names: Sequence[str]) -> np.ndarray:
    """Numbers as published: of eight bits, or of sixteen where they are large."""
    stored = [tuple(np.min_scalar_type(one).type(one) if isinstance(one, int) else one for one in row) for row in rows]
    return np.array(stored, dtype=[(name, object) for name in names])


def cars_devkit(root: Path, *, above: bool = False) -> Path:
    names = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    devkit = root / "devkit"
    devkit.mkdir(parents=True)
    savemat(devkit / "cars_meta.mat", {"class_names": np.array(CARS, dtype=object)}, do_compression=True)
    for part, count in (("train", 4), ("test", 2)):
        rows = [(1, 1, 5, 300, 1 + number % 2, f"{number + 1:05d}.jpg") for number in range(count)]
        for row in rows:
            picture(root / f"cars_{part}" / str(row[-1]))
        name = "cars_train_annos.mat" if part == "train" else "cars_test_annos_withlabels.mat"
        place = root if above and part == "test" else devkit
        savemat(place / name, {"annotations": _structs(rows, names)}, do_compression=True)
    return root


CARS_FIELDS = ("relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test")
CARS_ROWS = tuple((f"car_ims/{n:06d}.jpg", 1, 1, 5, 5, 1 + n % 2, int(n >= 4)) for n in range(6))


def cars_single_list(
    root: Path, names: Sequence[str] = CARS_FIELDS, rows: Sequence[tuple[object, ...]] = CARS_ROWS
) -> Path:
    for row in rows:
        picture(root / str(row[0]))
    content = {"annotations": _structs(rows, names), "class_names": np.array(CARS, dtype=object)}
    savemat(root / "cars_annos.mat", content)
    return root


def pacs(root: Path, *, lists: bool = False) -> Path:
    for domain in ("art_painting", "sketch"):
        tree(root / domain, {"dog": 10, "horse": 10})
        if lists:
            for part, numbers in (("train", range(8)), ("crossval", range(8, 10))):
                lines = [
                    f"{domain}/{label}/{n:03d}.jpg {k}" for k, label in ((1, "dog"), (2, "horse")) for n in numbers
                ]
                (root / f"{domain}_{part}_kfold.txt").write_text("\n".join(lines) + "\n")
    return root
