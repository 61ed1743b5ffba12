"""CIFAR-100 in its three forms: the Python pickles, the binary version, and Parquet tables."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.protocols.dataset import Dataset, Found, ProtocolError, made_of
from stream.protocols.pickles import NotPlain, read_pickle
from stream.protocols.tables import read_tables

SIDE, CLASSES = 32, 100
PIXELS = SIDE * SIDE * 3
RECORD = 2 + PIXELS
"""Bytes of a record: coarse class, fine class, then 1,024 red, green and blue values."""


def read_cifar100(root: Path) -> Dataset:
    """The data set from its folder, or from the one above it. Raises ProtocolError where none of the forms is there."""
    for name, reader in (("cifar-100-python", _read_pickles), ("cifar-100-binary", _read_binary)):
        for folder in (root, root / name):
            if (folder / ("meta" if reader is _read_pickles else "train.bin")).is_file():
                return reader(folder)
    if root.is_dir() and not any(root.glob("*.parquet")):
        raise ProtocolError(root, "there are neither Python pickles (meta), nor train.bin, nor Parquet tables")
    return read_tables("cifar100", root)


def _read_pickles(folder: Path) -> Dataset:
    names = _names_of(folder / "meta")
    train, test = (_of_pickle(folder / part, names) for part in ("train", "test"))
    return made_of("cifar100", train, test, folder, classes=names)


def _names_of(path: Path) -> list[str]:
    try:
        return [_text(name) for name in _loaded(path)["fine_label_names"]]
    except (KeyError, TypeError, UnicodeDecodeError) as error:
        raise ProtocolError(path, f"it has no list of class names: {error!r}") from error


def _of_pickle(path: Path, names: list[str]) -> list[Found]:
    content = _loaded(path)
    try:
        return _found(np.asarray(content["data"], np.uint8), content["fine_labels"], names)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ProtocolError(path, f"this is not a part of CIFAR-100: {error!r}") from error


def _read_binary(folder: Path) -> Dataset:
    listed = folder / "fine_label_names.txt"
    if not listed.is_file():
        raise ProtocolError(listed, "there is no such file")
    names = listed.read_text().split()
    train, test = (_of_binary(folder / f"{part}.bin", names) for part in ("train", "test"))
    return made_of("cifar100", train, test, folder, classes=names)


def _of_binary(path: Path, names: list[str]) -> list[Found]:
    if not path.is_file():
        raise ProtocolError(path, "there is no such file")
    content = path.read_bytes()
    if not content or len(content) % RECORD:
        raise ProtocolError(path, f"{len(content)} bytes are no whole number of records of {RECORD}")
    records_NR = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    try:
        return _found(records_NR[:, 2:], records_NR[:, 1].tolist(), names)
    except IndexError as error:
        raise ProtocolError(path, f"a class beyond the {len(names)} that are named") from error


def _found(rows_NP: NDArray[np.uint8], labels: list[int], names: list[str]) -> list[Found]:
    if min(labels, default=0) < 0:
        raise IndexError(f"class {min(labels)}")
    pixels_NHWC = np.ascontiguousarray(rows_NP.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
    return [Found(pixels, names[label]) for pixels, label in zip(pixels_NHWC, labels, strict=True)]


def _loaded(path: Path) -> dict[str, Any]:
    """The dictionary of a published file, its keys as text."""
    if not path.is_file():
        raise ProtocolError(path, "there is no such file")
    try:
        return {_text(key): value for key, value in read_pickle(path.read_bytes()).items()}
    except (NotPlain, AttributeError) as error:
        raise ProtocolError(path, f"this is not one of the published pickles: {error}") from error


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
