"""Files that survive a power cut: written beside their place, flushed, renamed, the folder flushed too."""

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from stream.errors import StorageFull, Unavailable
from stream.failpoints import reach

HALF_WRITTEN = re.compile(r"\..+\.[0-9a-f]{8}")
"""How a file is called until it is whole: its name, and something that no other writer has."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
FAILING = frozenset({errno.EIO, errno.EROFS, errno.ENXIO})


@contextlib.contextmanager
def storage_errors(place: Path) -> Iterator[None]:
    """Turn the operating system's ways of saying `no room` into StorageFull, of a disk that fails into Unavailable."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull(str(place)) from error
        if error.errno in FAILING:
            raise Unavailable(f"the disk does not take what is written: {error.strerror}") from error
        raise


def make_folder(folder: Path) -> None:
    """Make the folder and its parents; each new one is durable in its parent."""
    missing = [folder, *folder.parents]
    with storage_errors(folder):
        for place in reversed([place for place in missing if not place.exists()]):
            place.mkdir(exist_ok=True)
            flush_folder(place.parent)


def check_writable(folder: Path) -> None:
    """Raises OSError, with the folder as its filename, where files cannot be made in it by this account."""
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def write(path: Path, data: bytes) -> None:
    """Put `data` at `path`, whole and durable or not at all; an older file there is replaced at once.

    Raises:
        StorageFull: no room.
    """
    make_folder(path.parent)
    place(path, data)
    flush_folder(path.parent)


def place(path: Path, content: bytes | Path) -> None:
    """As `write`, but the caller flushes the folder. A Path as content is moved, or copied across file systems.

    The file is as new as its name: what sweeps old files that nothing names yet must not take it for one.

    Raises:
        StorageFull: no room; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with storage_errors(path.parent):
        try:
            if isinstance(content, Path):
                _move(content, temporary)
                os.utime(temporary)
            else:
                temporary.write_bytes(content)
            reach("file.written")
            flush_file(temporary)
            reach("file.flushed")
            temporary.replace(path)
            reach("file.renamed")
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def clear_half_written(folder: Path, oldest_s: float) -> int:
    """Remove what `place` had not renamed when its process was killed, anywhere below; younger files stay.

    `oldest_s` is in seconds since the epoch. How many files went.
    """
    count = 0
    for path in folder.rglob(".*"):
        with contextlib.suppress(FileNotFoundError):
            if HALF_WRITTEN.fullmatch(path.name) and path.stat().st_mtime < oldest_s:
                path.unlink()
                count += 1
    return count


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(source, target)
        source.unlink()


def flush_file(path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    _flush(path, os.O_RDONLY)


def flush_folder(path: Path) -> None:
    """Wait until the names in the folder are on the disk."""
    reach("folder.unflushed")
    _flush(path, os.O_RDONLY | os.O_DIRECTORY)
    reach("folder.flushed")


def flush_folders(folders: Iterable[Path]) -> None:
    """Flush each folder once."""
    for folder in sorted(set(folders)):
        flush_folder(folder)


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
