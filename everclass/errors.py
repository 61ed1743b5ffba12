"""What can go wrong between a client and a server.

EverclassError
├── NoAnswer                 nobody listens, the line broke or the time ran out; a retry may help
├── NotTheContract           something answered, but not an Everclass server of this contract
├── WaitedTooLong            the task goes on, the waiting for it has ended
├── TaskEnded                the task that one waited for made no final version
│   ├── TaskFailed
│   └── TaskCancelled
└── Problem                  the server said no (RFC 9457), with the fields it gave
    ├── Unreadable           400  the request cannot be read; 405 no such method; 408 it came too slowly
    ├── NotAllowed           401  no key, or one that is not known; 403 a key without this scope
    ├── NotFound             404
    ├── Conflict             409  the state of the server does not allow it
    ├── TooLarge             413
    ├── UnsupportedType      415  not an image type that the server takes
    ├── WrongContent         422  which image, which label: see `errors`
    ├── QuotaFull            429  try again after `retry_after_s`
    ├── Unavailable          503  no version yet, or draining; try again after `retry_after_s`
    ├── StorageFull          507
    └── ServerFault          500, 502, 504 and whatever else a server does wrong
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from everclass.results import Task


class EverclassError(Exception):
    """The root of all errors that this package raises on purpose."""


class NoAnswer(EverclassError):
    """No complete answer came from `url`; `cause` says what the transport saw."""

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(f"no answer from {url}: {cause}")
        self.url = url
        self.cause = cause


class NotTheContract(EverclassError):
    """An answer that is not what the HTTP contract promises for this call."""


class WaitedTooLong(EverclassError):
    """`timeout_s` seconds went by; `task` is the task as last seen, and it goes on."""

    def __init__(self, task: Task, timeout_s: float) -> None:
        super().__init__(f"task {task.id} is still {task.state} after {timeout_s:g} s")
        self.task = task
        self.timeout_s = timeout_s


class TaskEnded(EverclassError):
    """The task ended without being done; `task` is its last state, with the reason."""

    def __init__(self, task: Task) -> None:
        super().__init__(f"task {task.id} {task.state}: {task.reason or 'no reason given'}")
        self.task = task


class TaskFailed(TaskEnded):
    """The task failed; its images are kept for a retry."""


class TaskCancelled(TaskEnded):
    """Someone cancelled the task."""


PART = re.compile(r"\b(images|labels|splits)\[([0-9]{1,9})\]")
"""How a server calls one of the images of a request, or what was said of it: by its place, from 0."""


@dataclass(frozen=True)
class FieldProblem:
    """One thing that is wrong with one field of a request, such as `images[17]`.

    `image` is what the caller calls the image that the field belongs to: its `name` or its file.
    """

    field: str
    message: str
    image: str | None = None


class Problem(EverclassError):
    """A refusal as the server worded it.

    `status` is the HTTP status, `type`, `title` and `detail` are those of RFC 9457, `errors` names the fields, and
    `retry_after_s` is the server's own wish where it gave one. Of images that went up in several requests the fields
    count through all of them, and where an image has a name or is a file, `detail` and `str()` call it that.
    """

    def __init__(self, status: int, body: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        self.status = status
        self.type = str(body.get("type") or "about:blank")
        self.title = str(body.get("title") or f"HTTP {status}")
        self.detail = str(body.get("detail") or "")
        self.errors = tuple(_field_problems(body.get("errors")))
        self.retry_after_s = retry_after_s
        super().__init__(self._sentence())

    def of_images(self, names: Sequence[str | None], before: int = 0) -> "Problem":
        """The same refusal in the caller's words: of a request with images of these names, after `before` others."""

        def field(found: re.Match[str]) -> str:
            return f"{found[1]}[{int(found[2]) + before}]"

        def named(found: re.Match[str]) -> str:
            return _at(names, int(found[2])) or field(found)

        errors = [
            {
                "field": PART.sub(field, error.field),
                "message": error.message,
                "image": _at(names, int(place[2])) if (place := PART.fullmatch(error.field)) else error.image,
            }
            for error in self.errors
        ]
        body = {"type": self.type, "title": self.title, "detail": PART.sub(named, self.detail), "errors": errors}
        return type(self)(self.status, body, self.retry_after_s)

    def _sentence(self) -> str:
        head = f"{self.title} ({self.status})"
        if self.errors and self.errors[0].message in self.detail:
            return f"{head}: {self.detail}"
        named = "; ".join(f"{error.image or error.field}: {error.message}" for error in self.errors[:5])
        more = f"; and {len(self.errors) - 5} more" if len(self.errors) > 5 else ""
        return ": ".join(part for part in (head, self.detail, named + more) if part)


class Unreadable(Problem):
    """400, 405 or 408: the request cannot be read, the path has no such method, or the body came too slowly."""


class NotAllowed(Problem):
    """401 or 403: no key, an unknown one, or one without the scope."""


class NotFound(Problem):
    """404: there is no such task, version, alias or path."""


class Conflict(Problem):
    """409: the state of the server does not allow it now."""


class TooLarge(Problem):
    """413: more bytes, images or pixels than the server takes."""


class UnsupportedType(Problem):
    """415: neither JPEG, PNG nor WebP."""


class WrongContent(Problem):
    """422: `errors` says which image or label."""


class QuotaFull(Problem):
    """429: the queue or a quota is full."""


class Unavailable(Problem):
    """503: no version serves yet, or the server is going down."""


class StorageFull(Problem):
    """507: the server's disk is full."""


class ServerFault(Problem):
    """The server failed at something that the client did right."""


PROBLEMS: dict[int, type[Problem]] = {
    400: Unreadable,
    408: Unreadable,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    405: Unreadable,
    409: Conflict,
    413: TooLarge,
    415: UnsupportedType,
    422: WrongContent,
    429: QuotaFull,
    503: Unavailable,
    507: StorageFull,
}


def problem(status: int, body: Mapping[str, Any], retry_after_s: float | None = None) -> Problem:
    """The error for a status of 400 or more; an unlisted one is `Unreadable` below 500, else `ServerFault`."""
    kind = PROBLEMS.get(status, Unreadable if status < 500 else ServerFault)
    return kind(status, body, retry_after_s)


def _field_problems(value: object) -> list[FieldProblem]:
    if not isinstance(value, list):
        return []
    return [
        FieldProblem(str(e.get("field", "")), str(e.get("message", "")), e.get("image") and str(e["image"]))
        for e in value
        if isinstance(e, dict)
    ]


def _at(names: Sequence[str | None], place: int) -> str | None:
    return names[place] if place < len(names) else None
