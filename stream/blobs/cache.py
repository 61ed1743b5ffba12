"""A bounded folder of copies of content-addressed blobs, for stores that are a network away."""

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from stream import files
from stream.blobs.blobs import check_file
from stream.errors import DamagedBlob


class BlobCache:
    """Copies in `folder`, at most `limit_bytes` together; those read longest ago go first."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        files.make_folder(folder)

    def path(self, key: str, fetch: Callable[[], bytes]) -> Path:
        """The copy of `key`, fetched where it is missing or damaged."""
        place = self._folder / key.replace("/", "_")
        with self._lock:
            if self._intact(key, place):
                os.utime(place)
                return place
            files.write(place, fetch())
            self._shrink(keep=place)
        return place

    def forget(self, key: str) -> None:
        """Remove the copy, if there is one."""
        (self._folder / key.replace("/", "_")).unlink(missing_ok=True)

    def _intact(self, key: str, place: Path) -> bool:
        try:
            check_file(key, place)
        except (FileNotFoundError, DamagedBlob):
            return False
        return True

    def _shrink(self, keep: Path) -> None:
        copies = [(path.stat(), path) for path in self._folder.iterdir() if path != keep]
        room = self._limit_bytes - keep.stat().st_size
        for status, path in sorted(copies, key=lambda copy: copy[0].st_mtime, reverse=True):
            room -= status.st_size
            if room < 0:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
