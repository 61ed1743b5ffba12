"""Stanford Cars in the forms in which it goes round: the devkit, the older single list, and class folders.

The official split is used: 8,144 images to train, 8,041 to test (the reference's may be the other way round). Classes
are numbered by name in every form, as the reference numbers those of folders, so that a seed gives the same tasks.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stream.protocols.dataset import Dataset, Found, ProtocolError, made_of
from stream.protocols.trees import read_tree

TEST_LIST = "cars_test_annos_withlabels.mat"


def read_cars196(root: Path) -> Dataset:
    """By `devkit/`, by `cars_annos.mat`, or by `train/` and `test/` or `val/`. Raises ProtocolError."""
    if (root / "devkit").is_dir():
        return _by_devkit(root)
    if (root / "cars_annos.mat").is_file():
        return _by_single_list(root)
    return read_tree("cars196", root)


def _by_devkit(root: Path) -> Dataset:
    devkit = root / "devkit"
    names = _names(devkit / "cars_meta.mat")
    test = next((place / TEST_LIST for place in (devkit, root) if (place / TEST_LIST).is_file()), devkit / TEST_LIST)
    train_found = _annotated(devkit / "cars_train_annos.mat", root / "cars_train", names)
    return made_of("cars196", train_found, _annotated(test, root / "cars_test", names), root, classes=sorted(names))


def _annotated(path: Path, folder: Path, names: list[str]) -> list[Found]:
    return [
        Found(_picture(path, folder / str(one["fname"])), _named(path, names, one["class"]))
        for one in _structs(path, ("fname", "class"))
    ]


def _by_single_list(root: Path) -> Dataset:
    path = root / "cars_annos.mat"
    names = _names(path)
    parts: tuple[list[Found], list[Found]] = ([], [])
    for one in _structs(path, ("relative_im_path", "class", "test")):
        picture = _picture(path, root / str(one["relative_im_path"]))
        if one["test"] not in (0, 1):
            raise ProtocolError(path, f"{one['test']} is neither 0 (to train) nor 1 (to test)")
        parts[int(one["test"])].append(Found(picture, _named(path, names, one["class"])))
    return made_of("cars196", parts[0], parts[1], root, classes=sorted(names))


def _names(path: Path) -> list[str]:
    return [str(name) for name in np.atleast_1d(_content(path, "class_names"))]


def _structs(path: Path, fields: Sequence[str]) -> list[Any]:
    rows = np.atleast_1d(_content(path, "annotations"))
    missing = set(fields) - set(rows.dtype.names or ())
    if missing:
        raise ProtocolError(path, f"its annotations have no field {min(missing)}")
    return list(rows)


def _content(path: Path, key: str) -> Any:
    from scipy.io import loadmat

    if not path.is_file():
        raise ProtocolError(path, "there is no such file")
    try:
        return loadmat(path, squeeze_me=True)[key]
    except Exception as error:
        raise ProtocolError(path, f"this is not a MATLAB file with {key}: {error}") from error


def _named(path: Path, names: list[str], number: Any) -> str:
    if not 1 <= int(number) <= len(names):
        raise ProtocolError(path, f"class {number} is not one of {len(names)}")
    return names[int(number) - 1]


def _picture(named_in: Path, path: Path) -> Path:
    if not path.is_file():
        raise ProtocolError(named_in, f"it names {path.name}, which is not in {path.parent.name}")
    return path
