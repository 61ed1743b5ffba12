"""A Parquet table: `image` (bytes, or a struct of bytes and path), `label`; `label_name` wins where it is there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stream.errors import InvalidContent, TooLarge
from stream.labels import MAX_CHARACTERS
from stream.sources.item import SourceItem, SourceLimits, Tally

FIELD = "parquet"

ROWS_AT_ONCE = 1
"""A dictionary holds a value once and gives it to any number of rows: copied out together they could be of any size."""

BUFFER_BYTES = 1 << 20
"""Otherwise a column of all rows of a group, which may be all there are, lies in memory before the first is read."""

MOST_LABEL_BYTES, MOST_PATH_BYTES = 4 * MAX_CHARACTERS, 4096

BROKEN = (OSError, ValueError, TypeError, OverflowError, KeyError)
"""What Arrow and Python say of damaged tables, beside Arrow's own errors."""


def read_parquet(path: Path, limits: SourceLimits | None = None) -> Iterator[SourceItem]:
    """Every row as an image called `row N`, or by its path where the table has one.

    Raises:
        InvalidContent: not a Parquet file, a damaged one, columns that are missing or of another type, an empty cell.
        TooLarge: more comes out of it than the limits allow.
    """
    import pyarrow as arrow
    from pyarrow import parquet

    tally = Tally((limits or SourceLimits()).within(path.stat().st_size))
    try:
        with parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as table:
            label_column = _check(table.schema_arrow, table.metadata, tally.limits)
            row = 0
            for batch in table.iter_batches(ROWS_AT_ONCE, columns=["image", label_column]):
                for image, label in zip(batch.column(0), batch.column(1), strict=True):
                    yield _item(row, image.as_py(), label.as_py(), tally)
                    row += 1
    except MemoryError as error:
        raise InvalidContent.of(FIELD, "it takes more memory to read than is allowed") from error
    except (arrow.ArrowException, *BROKEN) as error:
        raise InvalidContent.of(FIELD, f"this is not a Parquet file, or it is damaged: {error}") from error


def _check(schema: Any, metadata: Any, limits: SourceLimits) -> str:
    """The name of the column that holds the labels."""
    if metadata.num_rows > limits.files:
        raise TooLarge(f"more than {limits.files} rows (limits.images_per_request)")
    if sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)) > limits.total_bytes:
        raise TooLarge(f"the rows come to more than {limits.total_bytes} bytes")
    names = set(schema.names)
    label_column = "label_name" if "label_name" in names else "label"
    for needed in ("image", label_column):
        if needed not in names:
            raise InvalidContent.of(FIELD, f"the table has no column {needed}")
    return label_column


def _item(row: int, image: Any, label: Any, tally: Tally) -> SourceItem:
    name = f"row {row}"
    if isinstance(image, dict):
        name = _path(row, image.get("path")) or name
        image = image.get("bytes")
    if not isinstance(image, bytes):
        raise InvalidContent.of(f"row {row}", "the image is not given as bytes")
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise InvalidContent.of(f"row {row}", "the label is neither text nor a whole number")
    if isinstance(label, str) and len(label.encode()) > MOST_LABEL_BYTES:
        raise InvalidContent.of(f"row {row}", f"the label is longer than {MAX_CHARACTERS} characters")
    tally.count(name, len(image))
    return SourceItem(name, str(label), None, image)


def _path(row: int, path: Any) -> str | None:
    if path is None:
        return None
    if not isinstance(path, str) or len(path.encode()) > MOST_PATH_BYTES:
        raise InvalidContent.of(f"row {row}", f"the path is no text of up to {MOST_PATH_BYTES} bytes")
    return path
