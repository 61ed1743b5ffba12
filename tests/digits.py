"""Real images that come with a package: scikit-learn's handwritten digits, as PNG files."""

from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


@cache
def pngs(digit: int) -> tuple[bytes, ...]:
    """Every picture of this digit, 8×8 pixels, in the order of the data set."""
    return tuple(_png(image_HWC[..., 0]) for image_HWC in pictures(digit))


@cache
def pictures(digit: int) -> tuple[np.ndarray, ...]:
    """The same, decoded: 8×8×3, grey."""
    digits = load_digits()
    grey_NHW = np.round(digits.images[digits.target == digit] * (255 / 16)).astype(np.uint8)
    return tuple(np.repeat(grey_NHW[..., None], 3, axis=3))


def labelled(*digits: int, count: int, start: int = 0) -> list[tuple[bytes, str]]:
    """`count` pictures of each digit from number `start` on, with their labels, the digits taking turns."""
    return [(pngs(digit)[number], str(digit)) for number in range(start, start + count) for digit in digits]


def _png(grey_HW: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(grey_HW).save(file, "PNG")
    return file.getvalue()
