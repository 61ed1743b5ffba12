"""What goes into the audit log: every call that changes something, at once; refused ones gathered.

Whoever is refused can send as much as he likes, so what is alike is counted, and what comes of the rest is bounded.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from service.access.caller import OBJECT, Caller
from service.edge.asgi import Scope
from stream.errors import StreamError
from stream.keys import AuditEntry
from stream.ledger import Ledger

METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"})
CHANGING = frozenset({"POST", "PUT", "DELETE", "PATCH"})
CHANGES_NOTHING = frozenset({"/predict"})
REFUSED = frozenset({401, 403})
MOST_KINDS = 100
"""Different refusals of callers without a key that are written in an hour, each when it comes first, and once more with
how often it came after that; the rest is counted in one line. Of known keys ten times as many.
"""

HOUR_S = 3600.0
OTHERS = "others"
OTHER_METHOD = "other"
"""Stands for any method that there is not: anyone could think of ever new ones."""

Kind = tuple["Call", int]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """A request as the log has it."""

    method: str
    route: str
    remote: str | None
    caller: Caller | None

    def entry(self, status: int, subject: str | None) -> AuditEntry:
        """What is written of it."""
        return AuditEntry(
            at=datetime.now(UTC),
            key=None if self.caller is None else self.caller.id,
            name=None if self.caller is None else self.caller.name,
            route=self.route,
            method=self.method,
            status=status,
            object=subject,
            remote=self.remote,
        )


class Auditor:
    """Writes the log. Safe to use from any thread."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._refused: Counter[Kind] = Counter()
        self._hour = _Hour(clock())
        self._clock = clock

    def changed(self, call: Call, status: int, subject: str | None) -> None:
        """Note a change before its answer goes out; waits for the disk. What cannot be noted is logged instead."""
        entry = call.entry(status, subject)
        try:
            self._ledger.record_audit([entry])
        except StreamError as error:
            log.error("not in the audit log: %s (%s)", entry, error)

    def refused(self, call: Call, status: int) -> None:
        """Note a refusal for one of the next writings."""
        if call.method not in METHODS:
            call = replace(call, method=OTHER_METHOD)
        with self._lock:
            self._refused[self._hour.kind(call, status)] += 1

    def write(self, *, all_of_it: bool = False) -> None:
        """Write what was refused for the first time, and once an hour, or where `all_of_it` is asked for, the rest.

        Raises StreamError, and keeps it for the next time.
        """
        with self._lock:
            due = list(self._refused)
            if all_of_it or self._clock() - self._hour.began >= HOUR_S:
                self._hour = _Hour(self._clock())
            else:
                due = [kind for kind in due if kind in self._hour.unwritten]
            refused = {kind: self._refused.pop(kind) for kind in due}
            self._hour.unwritten.difference_update(due)
        if not refused:
            return
        try:
            self._ledger.record_audit(
                [replace(call.entry(status, None), times=times) for (call, status), times in refused.items()]
            )
        except BaseException:
            with self._lock:
                self._refused.update(refused)
                self._hour.unwritten.update(due)
            raise


class _Hour:
    """Which refusals have lines of their own in the present hour, and which of them were not written yet."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.unwritten: set[Kind] = set()
        self._kinds: dict[bool, set[Kind]] = {True: set(), False: set()}

    def kind(self, call: Call, status: int) -> Kind:
        """What a refusal is counted as."""
        known = call.caller is not None
        kinds, found = self._kinds[known], (call, status)
        if found not in kinds:
            if len(kinds) >= MOST_KINDS * (10 if known else 1):
                found = Call("", OTHERS, None, None), status
            if found not in kinds:
                kinds.add(found)
                self.unwritten.add(found)
        return found


def subject_of(scope: Scope, headers: dict[bytes, bytes]) -> str | None:
    """What a request was about: what it made, what its route named, or its path where that names something."""
    if b"location" in headers:
        return headers[b"location"].decode("latin-1")
    if (named := scope.get(OBJECT)) is not None:
        return str(named)
    return str(scope["path"]) if scope.get("path_params") else None
