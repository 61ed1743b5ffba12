"""What goes into the audit log: every call that changes something, at once; refused ones gathered for some seconds.

Whoever is refused can send as much as he likes, so what is alike is counted, and what comes of the rest is bounded.
"""

import logging
import threading
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from service.access.caller import OBJECT, Caller
from service.asgi import Scope
from stream.errors import StreamError
from stream.keys import AuditEntry
from stream.ledger import Ledger

CHANGING = frozenset({"POST", "PUT", "DELETE", "PATCH"})
CHANGES_NOTHING = frozenset({"/predict"})
REFUSED = frozenset({401, 403})
MOST_KINDS = 100
"""Different refusals that are kept until the next writing; the rest is counted in one line."""

OTHERS = "others"

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

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._refused: Counter[tuple[Call, int]] = Counter()

    def changed(self, call: Call, status: int, subject: str | None) -> None:
        """Note a change before its answer goes out; waits for the disk. What cannot be noted is logged instead."""
        entry = call.entry(status, subject)
        try:
            self._ledger.record_audit([entry])
        except StreamError as error:
            log.error("not in the audit log: %s (%s)", entry, error)

    def refused(self, call: Call, status: int) -> None:
        """Note a refusal for the next writing."""
        with self._lock:
            if (call, status) not in self._refused and len(self._refused) >= MOST_KINDS:
                call = Call("", OTHERS, None, None)
            self._refused[call, status] += 1

    def write(self) -> None:
        """Write what was refused since the last time. Raises StreamError, and keeps it for the next."""
        with self._lock:
            refused, self._refused = self._refused, Counter()
        if not refused:
            return
        try:
            self._ledger.record_audit(
                [replace(call.entry(status, None), times=times) for (call, status), times in refused.items()]
            )
        except BaseException:
            with self._lock:
                self._refused.update(refused)
            raise


def subject_of(scope: Scope, headers: dict[bytes, bytes]) -> str | None:
    """What a request was about: what it made, what its route named, or its path where that names something."""
    if b"location" in headers:
        return headers[b"location"].decode("latin-1")
    if (named := scope.get(OBJECT)) is not None:
        return str(named)
    return str(scope["path"]) if scope.get("path_params") else None
