"""Long lists in pages, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select

from stream.errors import InvalidContent
from stream.ledger.words import LARGEST_NUMBER

Value = TypeVar("Value")

MAX_LIMIT = 1000


@dataclass(frozen=True)
class Page(Generic[Value]):
    """Some items, and the cursor of the next page (None at the end)."""

    items: tuple[Value, ...]
    next: str | None


def page_of_rows(
    connection: Connection, query: Select[Any], order: ColumnElement[int], cursor: str | None, limit: int
) -> tuple[Sequence[Row[Any]], str | None]:
    """The rows below `cursor` in falling order of `order`, and the next cursor.

    Raises:
        InvalidContent: the cursor is none that we gave out, or the limit is not in 1–1,000.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidContent.of("limit", f"the limit has to lie between 1 and {MAX_LIMIT}")
    if cursor is not None:
        query = query.where(order < _number(cursor))
    rows = connection.execute(query.add_columns(order.label("cursor")).order_by(order.desc()).limit(limit + 1)).all()
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], str(rows[limit - 1].cursor)


def _number(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise InvalidContent.of("cursor", "this is not a cursor of this list")
    return min(int(cursor), LARGEST_NUMBER)
