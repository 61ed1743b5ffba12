"""What this worker serves, and how it comes to serve what the ledger says is in force.

A version that is not loaded is loaded, checked and warmed beside the one that serves, and takes its place in one
assignment. One that cannot be loaded leaves things as they are. One whose batches fail again and again is loaded anew
before it answers again.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.metrics import Metrics
from service.predicting.loading import LoadedVersion, NotServable
from service.predicting.shelf import Shelf
from stream.errors import Conflict, DamagedBlob, NotFound, StreamError, Unavailable
from stream.failpoints import reach
from stream.ledger import Ledger
from stream.versions import Serving, Version

RETRY_LOAD_S = 5.0
"""After a version in force could not be loaded, or was loaded anew, the next try waits so long."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InForce:
    """A promotion and its version, loaded here."""

    serving: Serving
    loaded: LoadedVersion


@dataclass(frozen=True)
class Failure:
    """A promotion whose version could not be loaded here; tried again at `retry_at` (monotonic seconds)."""

    serving: Serving
    reason: str
    retry_at: float


class Follower:
    """Keeps this worker at what is in force. Safe to use from any thread."""

    def __init__(
        self, ledger: Ledger, shelf: Shelf, metrics: Metrics, mark_damaged: Callable[[int, str], None]
    ) -> None:
        self._ledger = ledger
        self._shelf = shelf
        self._metrics = metrics
        self._mark_damaged = mark_damaged
        self._loading = threading.Lock()
        self._swapping = threading.Lock()
        self._asking = threading.Lock()
        self._ledger_is_away = False
        self._current: InForce | None = None
        self._failure: Failure | None = None
        self._reopen_at = 0.0

    @property
    def current(self) -> InForce | None:
        """What this worker serves."""
        return self._current

    @property
    def failure(self) -> Failure | None:
        """What this worker ought to serve and could not load; None where it is up to date."""
        return self._failure

    @property
    def broken(self) -> str | None:
        """Why what this worker serves does not answer until it is loaded anew; None where it answers."""
        current = self._current
        if current is None or not current.loaded.failures.too_many:
            return None
        return f"the last {current.loaded.failures.in_a_row} batches of version {current.serving.version} failed"

    def take(self) -> InForce | None:
        """What a request that arrives now is to be answered with; in use until the shelf has the version back.

        None: it has to be loaded first (`follow`), or nothing is in force (`current` is None after that), or what is
        does not answer (`broken`).
        """
        serving = self._in_force()
        if serving is None:
            return None
        loaded = self._shelf.take_if_loaded(serving.digest)
        if loaded is not None:
            found = InForce(serving, loaded)
            self._swap(found)
            return self._unless_broken(found)
        return self._unless_broken(self._take_current()) if self._failed(serving) else None

    def follow(self) -> None:
        """Load what is in force and serve it, anew where it is broken; where that fails, note why and go on with what
        there is.
        """
        with self._loading:
            serving = self._in_force()
            if serving is None:
                self._current = self._failure = None
            elif not self._is_settled(serving):
                self._change_to(serving)
            if self._current is not None and self.broken:
                self._reopen(self._current)

    @contextmanager
    def prepared(self, version: Version) -> Iterator[LoadedVersion]:
        """The version loaded, checked and warm, and kept so inside the block: what comes before a promotion.

        Raises:
            Conflict: it is damaged (and is marked so), deleted, or cannot be run here.
        """
        loaded = self.load(version)
        try:
            yield loaded
        finally:
            self._shelf.give_back(loaded)

    def load(self, version: Version) -> LoadedVersion:
        """The version loaded, checked and warm, in use until the shelf has it back; anew where its batches failed again
        and again. Raises as `prepared`.
        """
        check_servable(version)
        try:
            self._shelf.renew(lambda loaded: loaded.digest == version.digest and loaded.failures.too_many)
            return self._shelf.take(version.digest)
        except (NotFound, DamagedBlob) as error:
            self._mark_damaged(version.version, str(error))
            raise Conflict(f"version {version.version} is damaged: {error}", field="version") from error
        except NotServable as error:
            raise Conflict(f"version {version.version} cannot be run here: {error}", field="version") from error

    def _in_force(self) -> Serving | None:
        """What the ledger says; what it last said where it does not answer.

        From then on one at a time asks whether it does again, which may take seconds, and nobody waits for that.
        """
        current = self._current
        if current is None or not self._ledger_is_away:
            return self._told()
        if not self._asking.acquire(blocking=False):
            return current.serving
        try:
            return self._told()
        finally:
            self._asking.release()

    def _told(self) -> Serving | None:
        try:
            serving = self._ledger.serving()
        except Unavailable:
            self._ledger_is_away = True
            if self._current is None:
                raise
            return self._current.serving
        self._ledger_is_away = False
        return serving

    def _is_settled(self, serving: Serving) -> bool:
        current = self._current
        return (current is not None and current.serving.seq >= serving.seq) or self._gave_up_on(serving)

    def _failed(self, serving: Serving) -> bool:
        """Requests go on with what there is from then on, and wait for no other try."""
        failure = self._failure
        return failure is not None and failure.serving.seq == serving.seq

    def _gave_up_on(self, serving: Serving) -> bool:
        failure = self._failure
        return failure is not None and self._failed(serving) and time.monotonic() < failure.retry_at

    def _take_current(self) -> InForce | None:
        current = self._current
        if current is None:
            return None
        loaded = self._shelf.take_if_loaded(current.loaded.digest)
        return None if loaded is None else InForce(current.serving, loaded)

    def _unless_broken(self, found: InForce | None) -> InForce | None:
        if found is None or not found.loaded.failures.too_many:
            return found
        self._shelf.give_back(found.loaded)
        return None

    def _reopen(self, current: InForce) -> None:
        """Load the version anew from its files, and serve that; loading it runs batches of its own."""
        if time.monotonic() < self._reopen_at:
            return
        self._reopen_at = time.monotonic() + RETRY_LOAD_S
        log.error("%s: it is loaded anew", self.broken)
        try:
            self._shelf.renew(lambda version: version is current.loaded)
            fresh = self._shelf.take(current.loaded.digest)
        except (StreamError, NotServable, OSError) as error:
            log.error("version %d cannot be loaded anew here: %s", current.serving.version, error)
            return
        self._swap(InForce(current.serving, fresh))
        self._shelf.give_back(fresh)

    def _change_to(self, serving: Serving) -> None:
        try:
            loaded = self._shelf.take(serving.digest)
        except (StreamError, NotServable, OSError) as error:
            self._note(serving, error)
            return
        self._swap(InForce(serving, loaded))
        self._shelf.give_back(loaded)

    def _swap(self, found: InForce) -> None:
        current = self._current
        if current is not None and current.serving.seq >= found.serving.seq:
            if current.serving.seq == found.serving.seq and current.loaded is not found.loaded:
                self._current = found
            return
        with self._swapping:
            if self._current is not None and self._current.serving.seq >= found.serving.seq:
                return
            reach("swap.before")
            self._current, self._failure = found, None
            self._shelf.pin(found.loaded.digest)
            reach("swap.after")
        self._metrics.swapped("done")
        log.info("version %d is in force here (promotion %d)", found.serving.version, found.serving.seq)

    def _note(self, serving: Serving, error: Exception) -> None:
        self._failure = Failure(serving, _in_public(error), time.monotonic() + RETRY_LOAD_S)
        self._metrics.swapped("failed")
        log.error("version %d is in force but cannot be loaded here: %s", serving.version, error)
        if isinstance(error, NotFound | DamagedBlob):
            self._mark_damaged(serving.version, str(error))


def _in_public(error: Exception) -> str:
    """What anyone may read of it: the log has the places and addresses."""
    if isinstance(error, NotFound | DamagedBlob):
        return "its files are missing or damaged"
    if isinstance(error, NotServable):
        return str(error)
    return "the blob store or the database does not answer as it should"


def check_servable(version: Version) -> None:
    """Raises Conflict where the version is damaged or deleted."""
    if not version.state.servable:
        raise Conflict(f"version {version.version} is {version.state}", field="version")
