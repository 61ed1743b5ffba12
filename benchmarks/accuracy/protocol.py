"""Split CIFAR-100: a part of the images of each class, its classes in the order of a seed, in tasks of equal size."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

CLASSES = 100

Pixels = NDArray[np.uint8]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelledPixels:
    """Images of 32×32 pixels and their classes 0–99."""

    pixels_NHWC: Pixels
    labels_N: Ints

    def of(self, classes: Ints) -> "LabelledPixels":
        """The images of these classes, class by class in this order."""
        rows_N = np.concatenate([np.flatnonzero(self.labels_N == one) for one in classes])
        return LabelledPixels(self.pixels_NHWC[rows_N], self.labels_N[rows_N])

    def __len__(self) -> int:
        return len(self.labels_N)


@dataclass(frozen=True, eq=False)
class Protocol:
    """Training and test images, and how many tasks the classes come in."""

    train: LabelledPixels
    test: LabelledPixels
    tasks: int

    def class_tasks(self, seed: int) -> list[Ints]:
        """The classes of each task: legacy NumPy's permutation of the seed, cut in equal parts."""
        return [part.astype(np.int64) for part in np.array_split(class_order(seed), self.tasks)]


def class_order(seed: int) -> Ints:
    """`numpy.random.seed(seed); numpy.random.permutation(100)`, as the reference orders classes."""
    return np.random.RandomState(seed).permutation(CLASSES).astype(np.int64)


def read_cifar100(folder: Path, *, train_per_class: int, test_per_class: int, tasks: int) -> Protocol:
    """The first images of each class in `train-00000.parquet` and `test-00000.parquet`.

    Both files go round-robin over the classes, so that a prefix is balanced. Raises ValueError where it is not.
    """
    train = _read(folder / "train-00000.parquet", train_per_class)
    return Protocol(train, _read(folder / "test-00000.parquet", test_per_class), tasks)


def _read(path: Path, per_class: int) -> LabelledPixels:
    wanted = per_class * CLASSES
    rows = [row for row, _ in zip(_rows(path), range(wanted), strict=False)]
    labels_N = np.array([label for _, label in rows], dtype=np.int64)
    if not (np.bincount(labels_N, minlength=CLASSES) == per_class).all():
        raise ValueError(f"the first {wanted} rows of {path} are not {per_class} of each class")
    return LabelledPixels(np.stack([pixels_HWC for pixels_HWC, _ in rows]), labels_N)


def _rows(path: Path) -> Iterator[tuple[Pixels, int]]:
    for batch in pq.ParquetFile(path).iter_batches(1_000, columns=["image", "label"]):
        for row in batch.to_pylist():
            with Image.open(io.BytesIO(row["image"])) as image:
                yield np.array(image.convert("RGB"), dtype=np.uint8), row["label"]
