"""The learner's sign of life: renews its lease from a thread of its own and says what the learner is at."""

import logging
import threading
from types import TracebackType
from typing import Any

from stream.errors import LeaseLost, StreamError
from stream.ledger import Lease, Ledger

RENEW_EVERY_S = 2.0
LEASE_TTL_S = 8.0

log = logging.getLogger(__name__)


class Heartbeat:
    """Renews `lease` every two seconds until left; `lost` is set once another learner holds it."""

    def __init__(self, ledger: Ledger, lease: Lease) -> None:
        self.lease = lease
        self.lost = threading.Event()
        self._ledger = ledger
        self._info: dict[str, Any] = {}
        self._wake = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def say(self, **info: Any) -> None:
        """Change what the lease's info says (None removes a word) and write it at once."""
        merged = {**self._info, **info}
        self._info = {key: value for key, value in merged.items() if value is not None}
        self._renew()

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(RENEW_EVERY_S):
            try:
                self._renew()
            except LeaseLost:
                return
            except StreamError as error:
                log.warning("the lease was not renewed: %s", error)
            except Exception:
                # A thread that ends would let the lease go while the task is still learned.
                log.exception("the lease was not renewed")

    def _renew(self) -> None:
        try:
            self._ledger.renew_lease(self.lease, self._info)
        except LeaseLost:
            self.lost.set()
            raise
