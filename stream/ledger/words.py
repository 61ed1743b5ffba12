"""What a database can hold: ids, numbers and words from outside are looked at before they become part of a query."""

import re

from stream.errors import InvalidContent

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

LARGEST_NUMBER = 2**31 - 1
"""The largest value of the columns that count versions, promotions and tasks."""

NOT_STORED = re.compile("[\x00\ud800-\udfff]")
"""PostgreSQL keeps no NUL in a text, and a lone surrogate has no bytes in UTF-8."""


def is_id(text: str) -> bool:
    """Whether there may be a task with this id."""
    return ID.fullmatch(text) is not None


def is_number(number: int) -> bool:
    """Whether there may be a version or promotion with this number."""
    return 1 <= number <= LARGEST_NUMBER


def storable(text: str | None, field: str) -> str | None:
    """The text itself. Raises InvalidContent, naming `field`, where it holds what no database keeps."""
    if text is not None and NOT_STORED.search(text):
        raise InvalidContent.of(field, "the text holds a NUL or half a character")
    return text


def made_storable(text: str | None) -> str | None:
    """The text with `?` in place of what no database keeps."""
    return None if text is None else NOT_STORED.sub("?", text)
