"""The versions that are loaded: as many as allowed, the least recently used one goes first, none while it is in use."""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.loading import LoadedVersion


class Shelf:
    """Loaded versions by their manifest's digest. Safe to use from any thread.

    Versions in use and the pinned one stay, even where that is more than `most`.
    """

    def __init__(self, load: Callable[[str], LoadedVersion], most: int) -> None:
        self._load = load
        self._most = most
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._loaded: OrderedDict[str, LoadedVersion] = OrderedDict()
        self._users: dict[str, int] = defaultdict(int)
        self._pinned: str | None = None

    def take(self, digest: str) -> LoadedVersion:
        """The version, loaded and warm, in use until `give_back`. Raises what loading it raises."""
        with self._one_at_a_time(digest):
            present = self.take_if_loaded(digest)
            if present is not None:
                return present
            version = self._load(digest)
            with self._lock:
                self._loaded[digest] = version
                self._users[digest] += 1
                surplus = self._surplus()
        _close(surplus)
        return version

    def take_if_loaded(self, digest: str) -> LoadedVersion | None:
        """The version, in use until `give_back`; None where it is not loaded."""
        with self._lock:
            version = self._loaded.get(digest)
            if version is not None:
                self._loaded.move_to_end(digest)
                self._users[digest] += 1
            return version

    def give_back(self, version: LoadedVersion) -> None:
        """The taker no longer uses it."""
        with self._lock:
            self._users[version.digest] -= 1
            if not self._users[version.digest]:
                del self._users[version.digest]
            surplus = self._surplus()
        _close(surplus)

    def pin(self, digest: str) -> None:
        """Keep this version, and no longer the one pinned before."""
        with self._lock:
            self._pinned = digest

    @property
    def digests(self) -> tuple[str, ...]:
        """What is loaded, least recently used first."""
        with self._lock:
            return tuple(self._loaded)

    def close(self) -> None:
        """Close every version; none may be in use."""
        with self._lock:
            versions = list(self._loaded.values())
            self._loaded.clear()
        _close(versions)

    @contextmanager
    def _one_at_a_time(self, digest: str) -> Iterator[None]:
        with self._lock:
            turn = self._loading[digest]
        with turn:
            yield
        with self._lock:
            if not turn.locked():
                self._loading.pop(digest, None)

    def _surplus(self) -> list[LoadedVersion]:
        idle = [digest for digest in self._loaded if digest not in self._users and digest != self._pinned]
        return [self._loaded.pop(digest) for digest in idle[: max(0, len(self._loaded) - self._most)]]


def _close(versions: list[LoadedVersion]) -> None:
    for version in versions:
        version.model.close()
