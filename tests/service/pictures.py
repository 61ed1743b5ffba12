"""Pictures that a server should take, and some that it should not."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image


def encoded(picture: Image.Image, form: str) -> bytes:
    """The picture as a file."""
    file = BytesIO()
    picture.save(file, form)
    return file.getvalue()


def files(*images: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    """Images as the files of a form."""
    return [("images", (f"{number}.png", image)) for number, image in enumerate(images)]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bomb(side: int) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b"")


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))

JPEG_CUT = encoded(NOISE, "JPEG")[:900]
"""The beginning of a photograph."""

BOMB = _bomb(20_000)
"""A few hundred bytes that would be 400 million pixels."""
