"""Blobs in a folder of one machine: a key is a path below it."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from stream import files
from stream.blobs.blobs import KEY, BlobInfo, Content, check_bytes, check_file, check_key, check_prefix
from stream.errors import DamagedBlob, NotFound

WRITERS = 8
"""Threads that flush at once: a file system writes the flushes of several files together."""


class FolderBlobs:
    """Blobs below `root`, which is made where it is missing."""

    one_machine = True

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        files.make_folder(self.root)

    def put_bytes(self, key: str, data: bytes) -> None:
        self.put_many([(key, data)])

    def put_file(self, key: str, path: Path) -> None:
        self.put_many([(key, path)])

    def put_many(self, pairs: Iterable[tuple[str, Content]]) -> None:
        work = [(key, self._place(key), content) for key, content in pairs]
        folders = {path.parent for _, path, _ in work}
        for folder in folders:
            files.make_folder(folder)
        if len(work) == 1:
            self._put(work[0])
        else:
            with ThreadPoolExecutor(WRITERS) as pool:
                for _ in pool.map(self._put, work):
                    pass
        # A folder that another writer has made may not be durable in its own folder yet.
        files.flush_folders(folders | {folder.parent for folder in folders if folder.parent != self.root})

    def get(self, key: str, *, verify: bool = True) -> bytes:
        try:
            data = self._place(key).read_bytes()
        except FileNotFoundError:
            raise NotFound("blob", key) from None
        return check_bytes(key, data) if verify else data

    def path(self, key: str) -> Path:
        place = self._place(key)
        try:
            return check_file(key, place)
        except FileNotFoundError:
            raise NotFound("blob", key) from None

    def info(self, key: str) -> BlobInfo | None:
        try:
            return _info(key, self._place(key).stat())
        except FileNotFoundError:
            return None

    def exists(self, key: str) -> bool:
        return self._place(key).is_file()

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        for path in _files_below(self.root / check_prefix(prefix)):
            key = path.relative_to(self.root).as_posix()
            if not KEY.fullmatch(key):
                # Somebody else's file, which no sweep may stumble over.
                continue
            with contextlib.suppress(FileNotFoundError):
                yield _info(key, path.stat())

    def delete(self, key: str) -> None:
        place = self._place(key)
        place.unlink(missing_ok=True)
        if key.count("/") > 1:
            with contextlib.suppress(OSError):
                place.parent.rmdir()

    def touch(self, keys: Iterable[str]) -> None:
        for key in keys:
            try:
                os.utime(self._place(key))
            except FileNotFoundError:
                raise NotFound("blob", key) from None

    def clear_half_written(self, prefix: str, oldest: datetime) -> int:
        return files.clear_half_written(self.root / check_prefix(prefix), oldest.timestamp())

    def _place(self, key: str) -> Path:
        return self.root / check_key(key)

    def _put(self, work: tuple[str, Path, Content]) -> None:
        key, path, content = work
        if self._intact(key, path) and _renewed(path):
            if isinstance(content, Path):
                content.unlink()
            return
        self._write(path, content)

    def _write(self, path: Path, content: Content) -> None:
        try:
            files.place(path, content)
        except FileNotFoundError:
            # The last blob of the folder was deleted, and the folder with it, since it was made.
            files.make_folder(path.parent)
            files.place(path, content)

    def _intact(self, key: str, path: Path) -> bool:
        """Whether the very bytes that the key promises are there already; damaged ones are written anew."""
        if not path.is_file() or not key.startswith("parts/"):
            return False
        try:
            check_file(key, path)
        except DamagedBlob:
            return False
        return True


def _renewed(path: Path) -> bool:
    """Whether the file got today's age; False where it was deleted meanwhile."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _files_below(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir():
            yield from _files_below(entry)
        elif not entry.name.startswith("."):
            yield entry


def _info(key: str, status: os.stat_result) -> BlobInfo:
    return BlobInfo(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
