"""Long lists in pages, newest first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select

from stream.errors import InvalidContent
from stream.ledger.words import LARGEST_NUMBER

Value = TypeVar("Value")

MAX_LIMIT = 1000
MOST_LINES = 50_000
"""A page ends early once its items have more lines, one a class or a task that they name: versions of ten thousand
classes would fill gigabytes.
"""
LOOKED_AT_ONCE = 20


@dataclass(frozen=True)
class Page(Generic[Value]):
    """Some items, and the cursor of the next page (None at the end)."""

    items: tuple[Value, ...]
    next: str | None


def page_of_rows(
    connection: Connection,
    query: Select[Any],
    order: ColumnElement[int],
    cursor: str | None,
    limit: int,
    lines_of: Callable[[Row[Any]], int] = lambda row: 0,
) -> tuple[Sequence[Row[Any]], str | None]:
    """The rows below `cursor` in falling order of `order`, and the next cursor; `lines_of` counts what a row names.

    Raises:
        InvalidContent: the cursor is none that we gave out, or the limit is not in 1–1,000.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidContent.of("limit", f"the limit has to lie between 1 and {MAX_LIMIT}")
    if cursor is not None:
        query = query.where(order < _number(cursor))
    query = query.add_columns(order.label("cursor")).order_by(order.desc()).limit(limit + 1)
    query = query.execution_options(yield_per=LOOKED_AT_ONCE)
    rows: list[Row[Any]] = []
    lines = 0
    with connection.execute(query) as found:
        for row in found:
            lines += lines_of(row)
            if len(rows) == limit or (rows and lines > MOST_LINES):
                return rows, str(rows[-1].cursor)
            rows.append(row)
    return rows, None


def _number(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise InvalidContent.of("cursor", "this is not a cursor of this list")
    return min(int(cursor), LARGEST_NUMBER)
