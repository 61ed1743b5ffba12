"""What a database can hold: ids, numbers and words from outside are looked at before they become part of a query."""

import re

from stream.errors import InvalidContent

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

LARGEST_NUMBER = 2**31 - 1
"""The largest value of the columns that count versions, promotions and tasks."""

NOT_STORED = re.compile("[\x00\ud800-\udfff]")
"""PostgreSQL keeps no NUL in a text, and a lone surrogate has no bytes in UTF-8."""

DECEIVING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Controls of a terminal, and what makes a text read in another order than it is written."""

LINE_ENDS = re.compile("[\t\n\r\u2028\u2029]")


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


def shown(text: str | None, field: str, *, lines: bool = False) -> str | None:
    """The text itself, which people will read; `lines`: it may have several.

    Raises InvalidContent, naming `field`, where it is not storable, or holds what a log or a terminal would show as
    something else.
    """
    if text is not None and (DECEIVING.search(text) or (not lines and LINE_ENDS.search(text))):
        raise InvalidContent.of(field, "the text holds a control character or one that turns its direction around")
    return storable(text, field)


def made_shown(text: str | None) -> str | None:
    """The text as one line with `?` in place of what `shown` refuses."""
    return None if text is None else LINE_ENDS.sub("?", DECEIVING.sub("?", NOT_STORED.sub("?", text)))
