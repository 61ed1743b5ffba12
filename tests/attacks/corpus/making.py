"""Image files put together by hand, so that their headers can lie."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"
NOISE = Image.fromarray(np.random.default_rng(5).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def encoded(kind: str, picture: Image.Image = NOISE, **options: Any) -> bytes:
    """A picture as a file of this kind."""
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes, *, crc: int | None = None, length: int | None = None) -> bytes:
    """A chunk of a PNG; length and checksum are right unless they are given."""
    check = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data) if length is None else length) + kind + data + struct.pack(">I", check)


def png(
    *more: bytes, width: int = 4, height: int = 4, bits: int = 8, colour: int = 2, data: bytes | None = None
) -> bytes:
    """A PNG with the chunks `more` before its pixels; `data` are packed pixels, right ones where it is None."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    rows = bytes((width * channels * bits + 7) // 8 + 1) * height if data is None else b""
    packed = zlib.compress(rows) if data is None else data
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + b"".join(more) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return PNG_START + body


def packed_zeros(size_bytes: int) -> bytes:
    """So many zeros, a thousandth of it packed."""
    packer = zlib.compressobj(9)
    piece = bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(size_bytes >> 20)) + packer.flush()


def with_size(jpeg: bytes, height: int, width: int) -> bytes:
    """A JPEG whose frame header claims this size."""
    at = next(at for at in (jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2")) if at >= 0)
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def with_segment(jpeg: bytes, marker: int, data: bytes) -> bytes:
    """A JPEG with one more segment at its beginning."""
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data + jpeg[2:]


def riff(*chunks: tuple[bytes, bytes], length: int | None = None) -> bytes:
    """A WebP of these chunks; its length is right unless it is given."""
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) if length is None else length) + body


def jpeg_of_scans(scans: int, side: int) -> bytes:
    """A progressive JPEG that refines the same coefficients again and again: small, and slow to decode."""
    file = encoded("JPEG", Image.new("L", (side, side), 128), progressive=True, quality=50)
    starts = [at for at in range(len(file)) if file[at : at + 2] == b"\xff\xda"]
    last = file[starts[-1] : -2]
    return file[:-2] + last * scans + b"\xff\xd9"
