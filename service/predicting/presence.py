"""What this service says of itself to the others, and what it does when nobody asks: follow, and load ahead.

It holds the lease `service:<instance>`, whose info lists the versions it has loaded. While the learner names a
candidate in its own lease, that version is loaded here before it is promoted, so that the swap finds it warm.
"""

import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from service.predicting.following import Follower
from service.predicting.loading import LoadedVersion, NotServable
from service.predicting.shelf import Shelf
from stream.errors import Conflict, LeaseLost, NotFound, StreamError
from stream.ledger import Lease, Ledger

LEARNER_LEASE = "learner"
POLL_S = 0.2
RENEW_S = 2.0
TTL_S = 10.0

log = logging.getLogger(__name__)


class ServiceLease:
    """The lease of this service, taken anew where it was lost."""

    def __init__(self, ledger: Ledger, *, one_machine: bool) -> None:
        self.name = f"service:{secrets.token_hex(8)}"
        self._ledger = ledger
        self._one_machine = one_machine
        self._lease = self._acquire()

    def renew(self, info: dict[str, Any]) -> None:
        """Hold it on, and say `info` of this service."""
        try:
            self._ledger.renew_lease(self._lease, info)
        except LeaseLost:
            self._lease = self._acquire()

    def release(self) -> None:
        """Give it back."""
        self._ledger.release_lease(self._lease)

    def mark_damaged(self, version: int, reason: str) -> None:
        """Note that the version's files are not what they should be; a version that is gone is left alone."""
        try:
            self._ledger.mark_damaged(version, reason)
        except (Conflict, NotFound) as error:
            log.warning("version %d could not be marked as damaged: %s", version, error)

    def _acquire(self) -> Lease:
        lease = self._ledger.acquire_lease(
            self.name, self.name, socket.gethostname(), TTL_S, one_machine=self._one_machine
        )
        if lease is None:
            raise LeaseLost(self.name)
        return lease


class Presence:
    """A thread that renews the lease, follows the ledger, and keeps the learner's candidate loaded."""

    def __init__(
        self,
        ledger: Ledger,
        lease: ServiceLease,
        shelf: Shelf,
        follower: Follower,
        outdated: Callable[[LoadedVersion], bool],
    ) -> None:
        self._ledger = ledger
        self._lease = lease
        self._shelf = shelf
        self._follower = follower
        self._outdated = outdated
        self._kept_as_they_are: set[str] = set()
        self._stop = threading.Event()
        self._candidate: LoadedVersion | None = None
        self._refused: dict[str, str] = {}
        self._said: dict[str, Any] = {}
        self._renew_at = 0.0
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Load what is in force, say so, and go on in a thread."""
        self._turn()
        self._thread.start()

    def close(self) -> None:
        """End the thread and give the lease back."""
        self._stop.set()
        self._thread.join()
        self._drop_candidate()
        self._lease.release()

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            self._turn()

    def _turn(self) -> None:
        try:
            self._follower.follow()
            self._load_ahead()
            if self._say():
                self._shelf.renew(self._to_be_renewed)
        except (StreamError, NotServable) as error:
            log.warning("the service could not follow: %s", error)
        except Exception:
            # A thread that ends would leave a service that looks well and follows nothing.
            log.exception("the service could not follow")

    def _to_be_renewed(self, version: LoadedVersion) -> bool:
        """Once for each version: where that fails, it serves on as it is."""
        if version.digest in self._kept_as_they_are or not self._outdated(version):
            return False
        self._kept_as_they_are.add(version.digest)
        return True

    def _load_ahead(self) -> None:
        learner = self._ledger.lease(LEARNER_LEASE)
        digest = learner.info.get("candidate") if learner is not None and learner.alive else None
        if digest is None or digest in self._refused:
            self._drop_candidate()
            self._refused = {} if digest is None else self._refused
        elif self._candidate is None or self._candidate.digest != digest:
            self._drop_candidate()
            self._load_candidate(str(digest))

    def _load_candidate(self, digest: str) -> None:
        try:
            self._candidate = self._shelf.take(digest)
        except (StreamError, NotServable, OSError) as error:
            log.warning("the candidate %s cannot be loaded: %s", digest[:12], error)
            self._refused[digest] = str(error)

    def _drop_candidate(self) -> None:
        if self._candidate is not None:
            self._shelf.give_back(self._candidate)
            self._candidate = None

    def _say(self) -> bool:
        """Renew the lease where that is due or there is news; whether it was."""
        info = {"loaded": list(self._shelf.digests), "refused": self._refused}
        if info == self._said and time.monotonic() < self._renew_at:
            return False
        self._lease.renew(info)
        self._said, self._renew_at = info, time.monotonic() + RENEW_S
        return True
