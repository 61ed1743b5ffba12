"""The versions that are loaded: as many as allowed, the least recently used one goes first, none while it is in use."""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.predicting.loading import LoadedVersion

BEYOND = 8
"""So many more versions than `most` may be in use at once, each of them asked for by name."""


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
        self._users: dict[LoadedVersion, int] = defaultdict(int)
        self._replaced: set[LoadedVersion] = set()
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
                self._users[version] += 1
                surplus = self._surplus()
        _close(surplus)
        return version

    def renew(self, outdated: Callable[[LoadedVersion], bool]) -> None:
        """Load outdated versions anew, and let each take the place of the one before, which goes once nobody uses it.

        Raises what loading one raises; the one before stays then.
        """
        with self._lock:
            loaded = list(self._loaded.values())
        for version in loaded:
            if outdated(version):
                self._renew(version)

    def _renew(self, version: LoadedVersion) -> None:
        with self._one_at_a_time(version.digest):
            fresh = self._load(version.digest)
            with self._lock:
                if self._loaded.get(version.digest) is not version:
                    idle = [fresh]
                else:
                    self._loaded[version.digest] = fresh
                    idle = [] if version in self._users else [version]
                    self._replaced.update({version} - set(idle))
        _close(idle)

    def take_if_loaded(self, digest: str) -> LoadedVersion | None:
        """The version, in use until `give_back`; None where it is not loaded."""
        with self._lock:
            version = self._loaded.get(digest)
            if version is not None:
                self._loaded.move_to_end(digest)
                self._users[version] += 1
            return version

    def give_back(self, version: LoadedVersion) -> None:
        """The taker no longer uses it."""
        with self._lock:
            self._users[version] -= 1
            if not self._users[version]:
                del self._users[version]
            surplus = self._surplus()
        _close(surplus)

    def pin(self, digest: str) -> None:
        """Keep this version, and no longer the one pinned before."""
        with self._lock:
            self._pinned = digest

    @property
    def is_crowded(self) -> bool:
        """Whether so many more versions than allowed are in use that no further one may be loaded for a request."""
        with self._lock:
            return len(self._users) >= self._most + BEYOND

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
        try:
            with turn:
                yield
        finally:
            with self._lock:
                if not turn.locked():
                    self._loading.pop(digest, None)

    def _surplus(self) -> list[LoadedVersion]:
        idle = [
            digest for digest, version in self._loaded.items() if version not in self._users and digest != self._pinned
        ]
        gone = [version for version in self._replaced if version not in self._users]
        self._replaced.difference_update(gone)
        return gone + [self._loaded.pop(digest) for digest in idle[: max(0, len(self._loaded) - self._most)]]


def _close(versions: list[LoadedVersion]) -> None:
    for version in versions:
        version.model.close()
