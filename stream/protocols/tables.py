"""Parquet files as a data set: columns `image` (bytes), `label`; `label_name` and `domain` where they are there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stream.protocols.dataset import Dataset, Found, ProtocolError, held_apart, made_of

NO_SPLIT = "No split in the files' names: of each class the fifth of the images whose SHA-256 is least is for testing."


def read_tables(name: str, root: Path) -> Dataset:
    """A Parquet file, or a folder of them: `train*.parquet` and `test*.parquet`, else all of them split by rule.

    Raises ProtocolError where there is none, or one cannot be read.
    """
    files = [root] if root.is_file() else sorted(root.glob("*.parquet"))
    if not files:
        raise ProtocolError(root, "there is no Parquet file")
    train, test = ([path for path in files if path.name.startswith(part)] for part in ("train", "test"))
    classes = _published_order(files)
    if train and test:
        return made_of(name, _all(train), _all(test), root, classes=classes)
    found = _all(files)
    keys = [one.source for one in found if isinstance(one.source, bytes)]
    return made_of(name, *held_apart(found, keys), root, classes=classes, note=NO_SPLIT)


def _all(files: Sequence[Path]) -> list[Found]:
    return [one for path in files for one in _rows(path)]


def _rows(path: Path) -> list[Found]:
    table = _table(path, ["image", "label", "label_name", "domain"])
    images = [one["bytes"] if isinstance(one, dict) else one for one in table["image"]]
    labels = [str(one) for one in table.get("label_name", table["label"])]
    domains = table.get("domain", [""] * len(images))
    return [Found(*row) for row in zip(images, labels, map(str, domains), strict=True)]


def _published_order(files: Sequence[Path]) -> tuple[str, ...]:
    """Names in order of their numbers where the files have both; empty, which sorts by name, where they do not."""
    named: dict[int, str] = {}
    for path in files:
        table = _table(path, ["label", "label_name"])
        if "label_name" not in table or not all(isinstance(one, int) for one in table["label"]):
            return ()
        named.update(zip(table["label"], map(str, table["label_name"]), strict=True))
    names = tuple(named[number] for number in sorted(named))
    return names if len(set(names)) == len(names) else ()


def _table(path: Path, columns: Sequence[str]) -> dict[str, list[Any]]:
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            there = [column for column in columns if column in file.schema_arrow.names]
            table = file.read(columns=there)
    except (arrow.ArrowException, OSError) as error:
        raise ProtocolError(path, f"this is not a Parquet file, or it is damaged: {error}") from error
    for needed in ("image", "label"):
        if needed in columns and needed not in there:
            raise ProtocolError(path, f"the table has no column {needed}")
    return {column: table.column(column).to_pylist() for column in there}
