"""Parquet files as a data set: columns `image` (bytes), `label` or `label_name`, `domain` where it is there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stream.protocols.dataset import Cell, Dataset, Found, ProtocolError, held_apart, made_of

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
    keys = [one.source.data for one in found if isinstance(one.source, Cell)]
    return made_of(name, *held_apart(found, keys), root, classes=classes, note=NO_SPLIT)


def _all(files: Sequence[Path]) -> list[Found]:
    return [one for path in files for one in _rows(path)]


def _rows(path: Path) -> list[Found]:
    table = _table(path, ["image", "label", "label_name", "domain"])
    images, labels = _needed(table, ("image",), path), _needed(table, ("label_name", "label"), path)
    domains = table.get("domain", [""] * len(images))
    return [
        Found(Cell(_bytes_of(image, row, path), path, row), _label_of(label, row, path), str(domain))
        for row, (image, label, domain) in enumerate(zip(images, labels, domains, strict=True))
    ]


def _needed(table: Mapping[str, list[Any]], columns: Sequence[str], path: Path) -> list[Any]:
    there = next((column for column in columns if column in table), None)
    if there is None:
        raise ProtocolError(path, f"the table has no column {columns[-1]}")
    return table[there]


def _bytes_of(image: Any, row: int, path: Path) -> bytes:
    content = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(content, bytes):
        raise ProtocolError(path, f"row {row} has no bytes of an image")
    return content


def _label_of(label: Any, row: int, path: Path) -> str:
    if label is None:
        raise ProtocolError(path, f"row {row} has no label")
    return str(label)


def _published_order(files: Sequence[Path]) -> tuple[str, ...]:
    """Names in order of their numbers where labels are numbers; empty, which sorts by name, where they are not."""
    named: dict[int, str] = {}
    for path in files:
        table = _table(path, ["label", "label_name"])
        numbers = table.get("label", [None])
        if not all(isinstance(one, int) for one in numbers):
            return ()
        named.update(zip(numbers, map(str, table.get("label_name", numbers)), strict=True))
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
    return {column: table.column(column).to_pylist() for column in there}
