"""The exit codes of the command, so that scripts can tell what went wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NoReturn

import click

from everclass.errors import (
    Conflict,
    EverclassError,
    NoAnswer,
    NotAllowed,
    NotFound,
    NotTheContract,
    QuotaFull,
    StorageFull,
    TaskEnded,
    TooLarge,
    Unavailable,
    Unreadable,
    UnsupportedType,
    WaitedTooLong,
    WrongContent,
)


class Exit(IntEnum):
    """What a process that ran `everclass` ends with."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_ANSWER = 3
    NOT_FOUND = 4
    CONFLICT = 5
    REFUSED = 6
    LATER = 7
    NOT_ALLOWED = 8
    TASK_ENDED = 9


MEANINGS = {
    Exit.DONE: "done",
    Exit.FAILED: "the server or the command itself failed",
    Exit.USAGE: "wrong use of the command, wrong settings, or a file that is not there",
    Exit.NO_ANSWER: "no Everclass server answered at the address",
    Exit.NOT_FOUND: "there is no such task, version or alias",
    Exit.CONFLICT: "the state of the server does not allow it",
    Exit.REFUSED: "the images, labels or values were refused",
    Exit.LATER: "busy, full, no version yet, no answer of the database, or waited too long: try again later",
    Exit.NOT_ALLOWED: "no key, a wrong one, or one without the scope",
    Exit.TASK_ENDED: "the task that was waited for failed or was cancelled",
}

_BY_ERROR: tuple[tuple[type[EverclassError], Exit], ...] = (
    (NoAnswer, Exit.NO_ANSWER),
    (NotTheContract, Exit.NO_ANSWER),
    (NotFound, Exit.NOT_FOUND),
    (Conflict, Exit.CONFLICT),
    (Unreadable, Exit.REFUSED),
    (TooLarge, Exit.REFUSED),
    (UnsupportedType, Exit.REFUSED),
    (WrongContent, Exit.REFUSED),
    (QuotaFull, Exit.LATER),
    (Unavailable, Exit.LATER),
    (StorageFull, Exit.LATER),
    (WaitedTooLong, Exit.LATER),
    (NotAllowed, Exit.NOT_ALLOWED),
    (TaskEnded, Exit.TASK_ENDED),
)


def exit_code(error: EverclassError) -> Exit:
    """The code that stands for an error."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), Exit.FAILED)


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Say an error in one line on stderr and end with its code."""
    try:
        yield
    except EverclassError as error:
        _end(str(error), exit_code(error))
    except (ValueError, OSError) as error:
        _end(str(error), Exit.USAGE)


def _end(message: str, code: Exit) -> NoReturn:
    click.echo(f"everclass: {message}", err=True)
    raise SystemExit(int(code))
