"""What can go wrong in the stream, as one tree.

StreamError
├── NotFound          no such task, version, alias or blob
├── NoLedger          no server has kept anything in the database yet
├── Conflict          the request does not fit the state as it is
├── InvalidContent    images, labels or words that cannot be taken, each named by its field
├── UnsupportedType   files of a type that is not taken, each named by its field
├── TooLarge          more bytes, files or pixels than the limits allow
├── QuotaFull         the queue has no room now
├── StorageFull       the disk or the database has no room left
├── Unavailable       the database or the blob store does not answer
├── LeaseLost         another process holds the lease now
├── TaskStopped       the task is no longer being learned (cancelled under its learner)
└── DamagedBlob       stored bytes are not those that were written
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with what was sent: `field` as the client named it (`images[3]`), `message` in words."""

    field: str
    message: str


class StreamError(Exception):
    """Root of the tree; `str()` is a sentence that a client may read. Crosses to another process unchanged."""

    def __reduce__(self) -> tuple[object, ...]:
        # By default __init__ would make its sentence once more, out of that sentence.
        return _as_it_was, (type(self), self.args, vars(self))


def _as_it_was(kind: type["StreamError"], args: tuple[object, ...], state: dict[str, object]) -> "StreamError":
    error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error


class NotFound(StreamError):
    """There is no `kind` (`task`, `version`, `alias`, `blob`, `promotion`) called `id`."""

    def __init__(self, kind: str, id: str | int) -> None:
        self.kind = kind
        self.id = id
        super().__init__(f"there is no {kind} {id}")


class NoLedger(StreamError):
    """There is no ledger at `place`, where one was looked for that is there already; nothing was made."""

    def __init__(self, place: str) -> None:
        self.place = place
        super().__init__(f"no server has kept anything in {place} yet")


class Conflict(StreamError):
    """The request does not fit the state. `retry_after_s`: waiting may help; `field`: the word that is to blame."""

    def __init__(self, detail: str, *, retry_after_s: int | None = None, field: str | None = None) -> None:
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.field = field
        super().__init__(detail)


class InvalidContent(StreamError):
    """What was sent cannot be taken; nothing of it was stored."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__(in_words(self.errors))

    @classmethod
    def of(cls, field: str, message: str) -> "InvalidContent":
        """An error about one field."""
        return cls((FieldError(field, message),))


class UnsupportedType(StreamError):
    """Files whose type is not taken; nothing was stored."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__(in_words(self.errors))


class TooLarge(StreamError):
    """More bytes, files or pixels than the limits allow; nothing was stored."""

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        self.detail = detail
        self.errors = tuple(errors)
        super().__init__(detail)


class QuotaFull(StreamError):
    """The queue has no room; it may have after `retry_after_s`."""

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        self.detail = detail
        self.retry_after_s = retry_after_s
        super().__init__(detail)


class StorageFull(StreamError):
    """No room left where `place` is; what was being written is not there."""

    def __init__(self, place: str) -> None:
        self.place = place
        super().__init__(f"no room left in {place}")


class Unavailable(StreamError):
    """The database or the blob store does not answer, and the call may be tried again.

    Nothing was changed, but where the connection broke during a commit: then nothing or all of it.
    """

    def __init__(self, detail: str, *, retry_after_s: int = 1) -> None:
        self.detail = detail
        self.retry_after_s = retry_after_s
        super().__init__(detail)


class LeaseLost(StreamError):
    """The lease called `name` belongs to another process now; nothing was written."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"another process holds the lease {name}")


class TaskStopped(StreamError):
    """The task is in `state` and no longer being learned; nothing was written."""

    def __init__(self, task_id: str, state: str) -> None:
        self.task_id = task_id
        self.state = state
        super().__init__(f"task {task_id} is {state}")


class DamagedBlob(StreamError):
    """The bytes stored under `key` are not those that were written."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"the stored bytes of {key} are damaged")


def in_words(errors: Sequence[FieldError]) -> str:
    """The errors as one line: the first three of them, and how many more there are."""
    shown = "; ".join(f"{error.field}: {error.message}" for error in errors[:3])
    return shown if len(errors) <= 3 else f"{shown}; and {len(errors) - 3} more"
