"""What is done about keys when nobody asks: new and revoked ones are noticed, uses and refusals are written down."""

import logging
import threading
import time
from collections.abc import Callable

from service.access.auditing import Auditor
from service.access.ring import KeyRing
from stream.errors import StreamError
from stream.ledger import Ledger

REFRESH_S = 0.5
"""So soon a key that is made or revoked counts in every worker."""

WRITE_REFUSED_S = 2.0
WRITE_USES_S = 60.0
FORGET_S = 3600.0

log = logging.getLogger(__name__)


class Rounds:
    """A thread that goes from one to the next."""

    def __init__(self, ledger: Ledger, ring: KeyRing, auditor: Auditor, audit_days: float) -> None:
        self._ring = ring
        self._auditor = auditor
        self._rounds: tuple[tuple[float, Callable[[], object]], ...] = (
            (REFRESH_S, ring.refresh),
            (WRITE_REFUSED_S, auditor.write),
            (WRITE_USES_S, ring.write_uses),
            (FORGET_S, lambda: ledger.forget_audit(audit_days)),
        )
        self._due = [0.0] * len(self._rounds)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keys", daemon=True)

    def start(self) -> None:
        """Read the keys, and go on in a thread. Raises StreamError where they cannot be read."""
        self._ring.refresh()
        self._thread.start()

    def close(self) -> None:
        """End the thread, and write what is not written yet."""
        self._stop.set()
        self._thread.join()
        for write in (self._ring.write_uses, lambda: self._auditor.write(all_of_it=True)):
            _do(write)

    def turn(self, now: float) -> None:
        """Do what is due at `now` (monotonic seconds)."""
        for place, (every_s, work) in enumerate(self._rounds):
            if now >= self._due[place]:
                self._due[place] = now + every_s
                _do(work)

    def _run(self) -> None:
        while not self._stop.wait(REFRESH_S):
            self.turn(time.monotonic())


def _do(work: Callable[[], object]) -> None:
    try:
        work()
    except StreamError as error:
        log.warning("keys and audit log wait for the database: %s", error)
    except Exception:
        # A thread that ends would leave a revoked key in force.
        log.exception("keys and audit log were not looked after")
