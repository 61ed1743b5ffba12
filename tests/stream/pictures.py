"""Small real images."""

from io import BytesIO

import numpy as np
from PIL import Image


def picture(seed: int, kind: str = "PNG", size: int = 16) -> bytes:
    """An encoded image of random pixels; the same seed gives the same pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()
