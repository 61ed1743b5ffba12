"""Hostile and odd images. All are sent as `a.jpg` with the type `image/jpeg`, whatever they are."""

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO

import numpy as np
from PIL import Image

from tests.attacks.corpus.attack import Attack, both
from tests.attacks.corpus.making import (
    NOISE,
    PNG_START,
    chunk,
    encoded,
    jpeg_of_scans,
    packed_zeros,
    png,
    riff,
    with_segment,
    with_size,
)

SIDE = 12_000
MB = 1 << 20

SVG = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><text>&x;</text></svg>"""

Maker = Callable[[], bytes]


def attacks() -> Iterator[Attack]:
    """Every image, to both doors."""
    for refused, group in ((415, OTHER_TYPES), (413, TOO_LARGE), (422, BROKEN), (None, HARMLESS)):
        for name, make in group.items():
            yield from both(name, make, refused)


def zipped() -> bytes:
    """A plain zip."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("cat/a.png", encoded("PNG"))
    return file.getvalue()


def frames(kind: str) -> bytes:
    """An animation of two frames."""
    return encoded(kind, save_all=True, append_images=[NOISE.rotate(90)])


def iso_media(brand: bytes) -> bytes:
    """The beginning of a HEIC or AVIF file."""
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1" + brand + bytes(100)


def exif_bomb() -> bytes:
    """A directory that claims four billion values, and points to itself as the next one."""
    entry = struct.pack("<HHII", 0x010E, 2, 0xFFFF_FFFF, 8)
    directory = b"Exif\x00\x00II*\x00" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 8)
    return with_segment(encoded("JPEG"), 0xE1, directory)


def sixteen_bit() -> bytes:
    """16 bits of grey."""
    return encoded("PNG", Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20))


def see_through_palette() -> bytes:
    """A palette one of whose colours is transparent."""
    return encoded("PNG", NOISE.quantize(16), transparency=3)


OTHER_TYPES: dict[str, Maker] = {
    "a GIF": lambda: encoded("GIF"),
    "a BMP": lambda: encoded("BMP"),
    "a TIFF": lambda: encoded("TIFF"),
    "an icon": lambda: encoded("ICO"),
    "a portable pixmap": lambda: encoded("PPM"),
    "a JPEG 2000": lambda: b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(100),
    "an SVG with a script and an outside entity": lambda: SVG,
    "a HEIC": lambda: iso_media(b"heic"),
    "an AVIF": lambda: iso_media(b"avif"),
    "a PDF": lambda: b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n%%EOF\n",
    "PostScript that reads a file": lambda: (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n"
    ),
    "HTML": lambda: b"<!doctype html><script>alert(1)</script>",
    "a zip": zipped,
    "a program": lambda: b"\x7fELF\x02\x01\x01" + bytes(200),
    "a URL instead of a file": lambda: b"http://169.254.169.254/latest/meta-data/",
    "a path instead of a file": lambda: b"file:///etc/passwd",
    "an animated PNG": lambda: frames("PNG"),
    "an animated WebP": lambda: frames("WEBP"),
    "a GIF that goes on as a JPEG": lambda: b"GIF89a\xff\xd8\xff" + encoded("JPEG"),
    "spaces before a PNG": lambda: b"  " + encoded("PNG"),
}

TOO_LARGE: dict[str, Maker] = {
    "a PNG of 12,000 by 12,000": lambda: png(width=SIDE, height=SIDE, data=zlib.compress(bytes(99))),
    "a PNG of 12,000 by 12,000 with all its pixels": lambda: png(
        width=SIDE, height=SIDE, bits=1, colour=0, data=packed_zeros(SIDE * (SIDE // 8 + 1))
    ),
    "a PNG of 2^31-1 by 2^31-1": lambda: png(width=2**31 - 1, height=2**31 - 1, data=b""),
    "a PNG of one by 60 million": lambda: png(width=1, height=60_000_000, data=b""),
    "a JPEG that claims 65,500 by 65,500": lambda: with_size(encoded("JPEG"), 65_500, 65_500),
    "a progressive JPEG that claims 65,500 by 65,500": lambda: with_size(
        encoded("JPEG", progressive=True), 65_500, 65_500
    ),
    "a WebP with a canvas of 16,384 and nothing on it": lambda: riff(
        (b"VP8X", b"\x00" * 4 + b"\xff\x3f\x00" * 2), (b"VP8L", b"\x2f" + bytes(20))
    ),
    "a WebP of 12,000 by 12,000": lambda: riff(
        (b"VP8L", b"\x2f" + struct.pack("<I", (SIDE - 1) | (SIDE - 1) << 14) + bytes(20))
    ),
}

BROKEN: dict[str, Maker] = {
    "a PNG with 100 MB in an iTXt": lambda: png(chunk(b"iTXt", b"a\x00\x01\x00\x00\x00" + packed_zeros(100 * MB))),
    "a PNG with 100 MB in a zTXt": lambda: png(chunk(b"zTXt", b"a\x00\x00" + packed_zeros(100 * MB))),
    "a PNG with 100 MB in 100 zTXt": lambda: png(*[chunk(b"zTXt", b"a\x00\x00" + packed_zeros(MB))] * 100),
    "a PNG with 100 MB in an iCCP": lambda: png(chunk(b"iCCP", b"a\x00\x00" + packed_zeros(100 * MB))),
    "a PNG cut short": lambda: encoded("PNG")[:-500],
    "a PNG without pixels": lambda: PNG_START + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)),
    "a PNG of no width": lambda: png(width=0, height=4, data=zlib.compress(b"")),
    "a PNG whose checksum lies": lambda: (
        PNG_START + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0), crc=1)
    ),
    "a PNG whose chunk claims 2 GB": lambda: PNG_START + chunk(b"IHDR", bytes(13), length=0x7FFF_FFFF),
    "a PNG of 3 bits": lambda: png(bits=3),
    "a JPEG cut short": lambda: encoded("JPEG")[:-900],
    "a JPEG of nothing but its start": lambda: b"\xff\xd8\xff",
    "a JPEG without rows": lambda: with_size(encoded("JPEG"), 0, 64),
    "a JPEG whose segment leads beyond its end": lambda: b"\xff\xd8\xff\xe0\xff\xff" + bytes(50),
    "a WebP cut short": lambda: encoded("WEBP")[:-300],
    "a WebP of one empty chunk": lambda: riff((b"VP8 ", b"")),
}

HARMLESS: dict[str, Maker] = {
    "a PNG whose pixels go on for 200 MB": lambda: png(data=packed_zeros(200 * MB)),
    "a JPEG of 300 scans": lambda: jpeg_of_scans(300, 500),
    "a JPEG with an EXIF bomb": exif_bomb,
    "a JPEG with EXIF of noise": lambda: with_segment(
        encoded("JPEG"), 0xE1, b"Exif\x00\x00" + np.random.default_rng(1).bytes(500)
    ),
    "a JPEG that is a zip too": lambda: encoded("JPEG") + zipped(),
    "a PNG that is HTML too": lambda: encoded("PNG") + b"<script>alert(1)</script>",
    "a JPEG with a program in its comment": lambda: with_segment(encoded("JPEG"), 0xFE, b"<?php system($_GET[0]); ?>"),
    "a phone's JPEG of two pictures": lambda: frames("MPO"),
    "16 bits of grey": sixteen_bit,
    "a JPEG in CMYK": lambda: encoded("JPEG", NOISE.convert("CMYK")),
    "a palette with transparency": see_through_palette,
    "a PNG of one pixel": lambda: encoded("PNG", NOISE.crop((0, 0, 1, 1))),
    "a PNG of one by 500,000": lambda: encoded("PNG", Image.new("L", (1, 500_000))),
}
