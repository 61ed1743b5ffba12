"""A zip or tar archive of a tree of folders. Nothing is unpacked to disk, and no name in it is ever used as a path."""

import bz2
import contextlib
import errno
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from stream.errors import InvalidContent, TooLarge
from stream.sources.item import SourceItem, SourceLimits, Tally, is_hidden

FIELD = "archive"

ENCRYPTED = 0x1
"""The flag of a zip member that needs a password (APPNOTE 4.4.4)."""

OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}

ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")

BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    IndexError,
    OverflowError,
    NotImplementedError,
    RecursionError,
    ValueError,
    struct.error,
)
"""What the standard library says of damaged archives."""

DIRECTORY_BYTES_A_FILE = 512
"""A zip's directory is read whole before anything else can be; so much of it is allowed for each file."""

FURTHER_HEADERS = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
MOST_HEADER = 16_384
"""Bytes of a tar entry's header that tells more of the next entry, such as a long name."""

END_RECORD, END_BYTES, MOST_COMMENT = b"PK\x05\x06", 22, 1 << 16
"""The record at a zip's end (APPNOTE 4.3.16), which says how large the directory is."""

LARGE_LOCATOR, LARGE_LOCATOR_BYTES, LARGE_RECORD_BYTES = b"PK\x06\x07", 20, 56
"""Before it, in archives that need more than 32 bits, what says so, and the record that counts then (4.3.14)."""


def read_archive(path: Path, limits: SourceLimits | None = None) -> Iterator[SourceItem]:
    """Every image file of the archive, in its order; the folder that it lies in names its class.

    Hidden files are left out.

    Raises:
        InvalidContent: not an archive, a damaged or encrypted one, a name that leads out of it, a link or a device, a
            file in no folder, two class folders of one name.
        TooLarge: more comes out of it than the limits allow.
    """
    bounds = (limits or SourceLimits()).within(path.stat().st_size)
    members = _zip_members if _is_zip(path) else _tar_members
    try:
        yield from members(path, Tally(bounds))
    except BROKEN as error:
        raise _damaged(error) from error
    except OSError as error:
        if not is_damage(error):
            raise
        raise _damaged(error) from error


def is_damage(error: OSError) -> bool:
    """Whether the archive is to blame and not the disk: unpackers set no number, and a zip can name places before its
    beginning.
    """
    return error.errno in (None, errno.EINVAL)


def _damaged(error: Exception) -> InvalidContent:
    return InvalidContent.of(FIELD, f"this is not a zip or tar archive, or it is damaged: {error}")


def _is_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) in ZIP_STARTS


def _zip_members(path: Path, tally: Tally) -> Iterator[SourceItem]:
    _check_directory(path, tally.limits)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            tally.pass_by()
            name = _checked(member.filename)
            if member.is_dir() or is_hidden(name):
                continue
            if member.flag_bits & ENCRYPTED:
                raise InvalidContent.of(str(name), "the file is encrypted")
            if not _is_plain(member):
                raise InvalidContent.of(str(name), "this is not a plain file")
            yield _item(name, _read(archive, member, tally.limits.file_bytes), tally)


def _check_directory(path: Path, limits: SourceLimits) -> None:
    """Raises TooLarge where the zip's own list of its files is larger than so many files need."""
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - END_BYTES - MOST_COMMENT - LARGE_LOCATOR_BYTES - LARGE_RECORD_BYTES))
        tail = stream.read()
    place = tail.rfind(END_RECORD)
    if place < 0 or len(tail) < place + END_BYTES:
        return
    (directory_bytes,) = struct.unpack_from("<I", tail, place + 12)
    large = place - LARGE_LOCATOR_BYTES - LARGE_RECORD_BYTES
    if large >= 0 and tail[place - LARGE_LOCATOR_BYTES :].startswith(LARGE_LOCATOR):
        (directory_bytes,) = struct.unpack_from("<Q", tail, large + 40)
    if directory_bytes > limits.files * DIRECTORY_BYTES_A_FILE + MOST_COMMENT:
        raise TooLarge(f"the archive lists far more than {limits.files} files")


def _is_plain(member: zipfile.ZipInfo) -> bool:
    kind = (member.external_attr >> 16) & 0o170000
    return kind in (0, 0o100000)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most_bytes: int) -> bytes:
    with archive.open(member) as stream:
        return stream.read(most_bytes + 1)


def _tar_members(path: Path, tally: Tally) -> Iterator[SourceItem]:
    with path.open("rb") as raw, _unpacked(raw) as stream:
        bounded = cast(IO[bytes], _Bounded(stream, tally.limits))
        with tarfile.open(fileobj=bounded, mode="r:", errorlevel=2, tarinfo=_Member) as archive:
            while (member := archive.next()) is not None:
                # Kept for nobody: an archive of many members would be held in memory by their names.
                archive.members = []  # type: ignore[attr-defined]
                tally.pass_by()
                if member.size < 0:
                    # The next header would be looked for before this one, again and again.
                    raise tarfile.ReadError("a file of less than no bytes")
                name = _checked(member.name)
                if member.isdir() or is_hidden(name):
                    continue
                if not member.isreg() or member.issparse():
                    raise InvalidContent.of(str(name), "this is not a plain file")
                if member.size > tally.limits.file_bytes:
                    raise TooLarge(f"{name} has more than {tally.limits.file_bytes} bytes")
                content = archive.extractfile(member)
                yield _item(name, content.read() if content else b"", tally)
            _check_end(bounded, archive.offset)


def _check_end(stream: IO[bytes], offset: int) -> None:
    """An archive ends at a block of zeros; one that was cut short between two files does not."""
    stream.seek(offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("the archive is cut short")
    _drain(stream)


def _drain(stream: IO[bytes]) -> None:
    """Read to the end, which is where the packing's checksum is compared."""
    while stream.read(tarfile.RECORDSIZE):
        pass


def _unpacked(raw: IO[bytes]) -> IO[bytes]:
    start = raw.read(6)
    raw.seek(0)
    for magic, opener in OPENERS.items():
        if start.startswith(magic):
            return cast(IO[bytes], opener(raw))
    return raw


@contextlib.contextmanager
def _unpacking_errors() -> Iterator[None]:
    """The three ways of packing fail in ways of their own."""
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise tarfile.ReadError(str(error)) from error


class _Member(tarfile.TarInfo):
    """An entry whose long name or further facts take no more room than any system's do: they are searched in ways whose
    time grows with the square of it.
    """

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in FURTHER_HEADERS and self.size > MOST_HEADER:
            raise TooLarge(f"a header in the archive has {self.size} bytes")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found


class _Bounded:
    """The unpacked tar, of which no more can be read than the limits allow: its headers could ask for any amount."""

    def __init__(self, stream: IO[bytes], limits: SourceLimits) -> None:
        self._stream = stream
        self._most_at_once = limits.file_bytes + tarfile.RECORDSIZE
        self._most = limits.total_bytes + limits.files * 2 * tarfile.BLOCKSIZE + tarfile.RECORDSIZE

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._most_at_once or self._stream.tell() + size > self._most:
            raise TooLarge("more comes out of the archive than is allowed")
        with _unpacking_errors():
            return self._stream.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset > self._most:
            raise TooLarge("more comes out of the archive than is allowed")
        with _unpacking_errors():
            return self._stream.seek(offset)

    def tell(self) -> int:
        return self._stream.tell()


def _checked(name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\x00" in name or (path.parts[:1] and ":" in path.parts[0]):
        raise InvalidContent.of(name, "the name leads out of the archive")
    return path


def _item(name: PurePosixPath, data: bytes, tally: Tally) -> SourceItem:
    tally.count(str(name), len(data))
    return SourceItem(str(name), tally.label_of(name), None, data)
