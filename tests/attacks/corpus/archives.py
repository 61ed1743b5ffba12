"""Hostile archives, all sent as `/learn`'s `archive`."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator

import numpy as np

from tests.attacks.corpus.attack import Attack, form, part
from tests.attacks.corpus.making import encoded

PICTURE = encoded("PNG")
MB = 1 << 20
MUCH = 64 * MB
"""More than one file may have."""

DIGITS = 64 << 10
"""A pax header of so many is searched for minutes by some releases of Python (CVE-2024-6232)."""

BACKWARDS = b"\xff" * 10 + b"\xfe\x00"
"""-512 to base 256."""

Maker = Callable[[], bytes]


def attacks() -> Iterator[Attack]:
    """Every archive."""
    for name, (status, field, make) in ARCHIVES.items():
        yield Attack(f"archive: {name}", "/learn", _sent(make), status, field)


def _sent(make: Maker) -> Maker:
    return lambda: form(part("archive", make(), "a.zip"))


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    """A zip of these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def tarred(*members: tarfile.TarInfo | str) -> bytes:
    """A tar of these members; plain names are pictures."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(PICTURE) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(PICTURE) if info.isreg() else None)
    return file.getvalue()


def special(kind: bytes, name: str = "cat/a.png", target: str = "") -> tarfile.TarInfo:
    """A member that is no plain file."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    member.devmajor = member.devminor = 1
    return member


def link_in_zip() -> bytes:
    """A symbolic link, as zips keep them."""
    member = zipfile.ZipInfo("cat/a.png")
    member.create_system, member.external_attr = 3, 0o120777 << 16
    return zipped((member, b"/etc/passwd"))


def encrypted() -> bytes:
    """A zip whose member says that it needs a password."""
    return _in_headers(zipped(("cat/a.png", PICTURE)), 6, 8, struct.pack("<H", 1))


def of_another_size(size_bytes: int) -> bytes:
    """A zip whose member unpacks to another size than its headers say."""
    return _in_headers(zipped(("cat/a.png", PICTURE)), 22, 24, struct.pack("<I", size_bytes))


def of_another_sum() -> bytes:
    """A zip whose checksum lies."""
    return _in_headers(zipped(("cat/a.png", PICTURE)), 14, 16, b"\x01\x02\x03\x04")


def _in_headers(archive: bytes, local: int, central: int, value: bytes) -> bytes:
    """The archive with a value written into its first local and central header, at these places."""
    changed = bytearray(archive)
    for start, at in ((changed.find(b"PK\x03\x04"), local), (changed.find(b"PK\x01\x02"), central)):
        changed[start + at : start + at + len(value)] = value
    return bytes(changed)


def overlapping(members: int, size: int = 30 * MB) -> bytes:
    """A zip many of whose members are the same packed bytes: small, and huge when unpacked."""
    single = zipped(("cat/000000.png", bytes(size)))
    start, end = single.find(b"PK\x01\x02"), single.find(b"PK\x05\x06")
    directory = single[start:end] * members
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, members, members, len(directory), start, 0)
    return single[:start] + directory + tail


def overlaps_are_refused() -> bool:
    """Whether Python's own zipfile sees that members overlap: from 3.11.8 on, and where that was carried back."""
    with zipfile.ZipFile(io.BytesIO(overlapping(2, 100))) as archive:
        try:
            archive.open(archive.infolist()[-1]).close()
        except zipfile.BadZipFile:
            return True
    return False


def header_of(size: bytes, name: str = "cat/a.png", kind: bytes = tarfile.REGTYPE) -> bytes:
    """The header of a member that claims this size (12 bytes, octal or of base 256)."""
    header = bytearray(tarred(name)[: tarfile.BLOCKSIZE])
    header[124:136], header[156:157], header[148:156] = size, kind, b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def tar_of_size(size: bytes) -> bytes:
    """A tar whose one file claims this size."""
    return header_of(size) + bytes(10 * tarfile.BLOCKSIZE)


def tar_in_a_circle() -> bytes:
    """A tar whose second member, a hidden one, is of such a size that the next header is its own."""
    first = header_of(b"00000000000\0")
    return first + header_of(BACKWARDS, ".hidden") + bytes(10 * tarfile.BLOCKSIZE)


def sparse() -> bytes:
    """A tar with a sparse file of a terabyte, as GNU tar keeps them in PAX headers."""
    member = tarfile.TarInfo("cat/a.png")
    member.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": str(1 << 40),
        "GNU.sparse.map": f"0,1,{1 << 40},0",
    }
    return tarred(member)


def of_zeros(pack: Callable[[bytes], bytes]) -> bytes:
    """A packed tar with a plain file that is far larger than a file may be."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("cat/a.png")
        member.size = MUCH
        archive.addfile(member, io.BytesIO(bytes(MUCH)))
    return pack(file.getvalue())


def of_headers() -> bytes:
    """A gzip that never stops being a PAX header."""
    return gzip.compress(header_of(b"77777777777\0", kind=tarfile.XHDTYPE) + bytes(MUCH))


def nested() -> bytes:
    """A zip in a zip in a zip."""
    inner = zipped(("cat/a.png", bytes(30 * MB)))
    for _ in range(3):
        inner = zipped(("cat/inner.zip", inner))
    return inner


def garbled(packing: int) -> bytes:
    """A zip whose member is packed in this way, and damaged within."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        archive.writestr(CAT, np.random.default_rng(0).bytes(2000))
    data = bytearray(file.getvalue())
    for place in range(60, 600):
        data[place] ^= 0xA5
    return bytes(data)


def chained(header: bytes, content: bytes) -> bytes:
    """A tar with two thousand headers of this kind before its file, each about the next."""
    member = tarfile.TarInfo("long")
    member.type, member.size = header, len(content)
    return (member.tobuf() + content.ljust(tarfile.BLOCKSIZE, b"\0")) * 2000 + tarred(CAT)


def folders_in_tar(count: int) -> bytes:
    """A packed tar of so many folders and nothing else."""
    member = tarfile.TarInfo("a")
    member.type = tarfile.DIRTYPE
    return gzip.compress(member.tobuf() * count + bytes(2 * tarfile.BLOCKSIZE))


def folders_in_zip(count: int, *, large: bool) -> bytes:
    """A zip that lists so many folders, by its plain record or by that of large archives."""
    start = b"PK\x03\x04" + bytes(26)
    numbers = (20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 2, 0, 0, 0, 0, 16, 0)
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *numbers) + b"a/"
    size, at = len(entry) * count, len(start)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, at)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at + size, 1)
    said = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) if large else (count & 0xFFFF, count & 0xFFFF, size, at)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *said, 0)
    return start + entry * count + (record + locator if large else b"") + end


CAT = "cat/a.png"


def renamed(length: int) -> bytes:
    """A zip of a file whose two names differ, and are as long as a name can be once they are written out."""
    written = bytearray(zipped(("c/" + "x" * length, b"x")))
    for name in (b"\x83", b"\x82"):
        place = written.index(b"c/xxx") + 2
        written[place : place + length] = name * length
    return bytes(written)


def hidden(size: int) -> bytes:
    """A tar of a file that nobody asks for, and a picture."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in ((".zeros", bytes(size)), (CAT, PICTURE)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def of_digits(count: int) -> bytes:
    """A tar whose one pax header is a number without end."""
    header = special(tarfile.XHDTYPE, "x")
    header.size = count
    return header.tobuf(tarfile.USTAR_FORMAT) + b"1" * count + bytes(-count % 512) + bytes(10_240)


def sparse_cut_short() -> bytes:
    """A tar that ends where the rest of a sparse file's list is to begin."""
    header = bytearray(tarfile.TarInfo("cat/a.png").tobuf(tarfile.GNU_FORMAT))
    header[156], header[482] = ord("S"), 1
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


ARCHIVES: dict[str, tuple[int, str | None, Maker]] = {
    "a zip bomb of one file": (413, "archive", lambda: zipped((CAT, bytes(MUCH)))),
    "a zip bomb of overlapping files": (
        *((422, "archive") if overlaps_are_refused() else (413, "archive")),
        lambda: overlapping(1000),
    ),
    "a zip in a zip in a zip": (415, "cat/inner.zip", nested),
    "a tar in gzip of 64 MB of zeros": (413, "archive", lambda: of_zeros(gzip.compress)),
    "a tar in xz of 64 MB of zeros": (413, "archive", lambda: of_zeros(lambda data: lzma.compress(data, preset=0))),
    "a tar in bzip2 of 64 MB of zeros": (413, "archive", lambda: of_zeros(bz2.compress)),
    "a gzip that is all header": (413, "archive", of_headers),
    "a gzip of zeros that is no tar": (413, "archive", lambda: gzip.compress(bytes(MUCH))),
    "a tar whose file claims 8 GB": (413, "archive", lambda: tar_of_size(b"77777777777\0")),
    "a tar whose file claims less than nothing": (422, "archive", lambda: tar_of_size(b"\xff" * 12)),
    "a tar that leads back to itself": (422, "archive", tar_in_a_circle),
    "a tar whose size is no number": (422, "archive", lambda: tar_of_size(b"not a number")),
    "a sparse file of a terabyte": (422, CAT, sparse),
    "a zip that leads upwards": (422, "cat/../../a.png", lambda: zipped(("cat/../../a.png", PICTURE))),
    "a tar that leads upwards": (422, "../../etc/cat/a.png", lambda: tarred("../../etc/cat/a.png")),
    "a zip with an absolute path": (422, "/etc/cat/a.png", lambda: zipped(("/etc/cat/a.png", PICTURE))),
    "a tar with an absolute path": (422, "/etc/cat/a.png", lambda: tarred("/etc/cat/a.png")),
    "a zip with a drive's letter": (422, "C:/cat/a.png", lambda: zipped(("C:/cat/a.png", PICTURE))),
    "a zip that leads upwards by backslashes": (
        422,
        "..\\..\\cat\\a.png",
        lambda: zipped(("..\\..\\cat\\a.png", PICTURE)),
    ),
    "a tar with a share's name": (422, "\\\\host\\cat\\a.png", lambda: tarred("\\\\host\\cat\\a.png")),
    "a symbolic link in a tar": (422, CAT, lambda: tarred(special(tarfile.SYMTYPE, target="/etc/passwd"))),
    "a hard link in a tar": (422, CAT, lambda: tarred(special(tarfile.LNKTYPE, target="/etc/passwd"))),
    "a folder that is a link, and a file in it": (
        422,
        "cat",
        lambda: tarred(special(tarfile.SYMTYPE, "cat", "/tmp"), "cat/a.png"),
    ),
    "a character device": (422, CAT, lambda: tarred(special(tarfile.CHRTYPE))),
    "a block device": (422, CAT, lambda: tarred(special(tarfile.BLKTYPE))),
    "a pipe": (422, CAT, lambda: tarred(special(tarfile.FIFOTYPE))),
    "a symbolic link in a zip": (422, CAT, link_in_zip),
    "an encrypted zip": (422, CAT, encrypted),
    "a zip whose file claims 4 GB and is a picture": (202, None, lambda: of_another_size(0xFFFF_FFF0)),
    "a zip whose file claims ten bytes": (422, "archive", lambda: of_another_size(10)),
    "a zip whose checksum lies": (422, "archive", of_another_sum),
    "a zip cut short": (422, "archive", lambda: zipped((CAT, PICTURE))[:-30]),
    "a zip of nothing": (422, "archive", lambda: zipped()),
    "no archive at all": (422, "archive", lambda: b"http://example.invalid/pets.zip"),
    "an empty file": (422, "archive", lambda: b""),
    "a file in no folder": (422, "a.png", lambda: zipped(("a.png", PICTURE))),
    "a folder whose name turns the text around": (422, "c\u202eat/a.png", lambda: zipped(("c\u202eat/a.png", PICTURE))),
    "a folder whose name rings a bell": (422, "c\x07at/a.png", lambda: tarred("c\x07at/a.png")),
    "a folder with a name of 201 characters": (
        422,
        "x" * 201 + "/a.png",
        lambda: zipped(("x" * 201 + "/a.png", PICTURE)),
    ),
    "a path of 60,000 characters": (202, None, lambda: zipped(("d/" * 30_000 + "cat/a.png", PICTURE))),
    "5,000 folders in a folder": (202, None, lambda: tarred("d/" * 5000 + "cat/a.png")),
    "the same name twice in a tar": (202, None, lambda: tarred(CAT, CAT)),
    "a file name that turns the text around": (202, None, lambda: zipped(("cat/a\u202egnp.exe", PICTURE))),
    "a zip whose LZMA is damaged": (422, "archive", lambda: garbled(zipfile.ZIP_LZMA)),
    "a zip whose bzip2 is damaged": (422, "archive", lambda: garbled(zipfile.ZIP_BZIP2)),
    "a tar of 2,000 long names for one file": (
        422,
        "archive",
        lambda: chained(tarfile.GNUTYPE_LONGNAME, b"cat/x.png\0"),
    ),
    "a tar of 2,000 headers for one file": (422, "archive", lambda: chained(tarfile.XHDTYPE, b"13 comment=a\n")),
    "a tar of 60,000 folders": (413, "archive", lambda: folders_in_tar(60_000)),
    "a zip of 60,000 folders": (413, "archive", lambda: folders_in_zip(60_000, large=False)),
    "a zip of 400,000 folders": (413, "archive", lambda: folders_in_zip(400_000, large=True)),
    "a zip whose names differ and are very long": (422, "archive", lambda: renamed(65_000)),
    "a tar whose header is 64 KB of digits": (413, "archive", lambda: of_digits(DIGITS)),
    "a tar of a sparse file, cut short": (422, "archive", sparse_cut_short),
    "a zip of a file without a name": (
        422,
        "archive",
        lambda: zipped(("X", PICTURE)).replace(b"X", b"\0"),
    ),
    "a tar of a hidden file of 64 MB": (413, "archive", lambda: gzip.compress(hidden(MUCH))),
    "a script among the pictures": (415, "cat/run.sh", lambda: zipped((CAT, PICTURE), ("cat/run.sh", b"#!/bin/sh\n"))),
}
