"""Real images that come with a package: scikit-learn's handwritten digits, as PNG files."""

from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


@cache
def pngs(digit: int) -> tuple[bytes, ...]:
    """Every picture of this digit, 8×8 pixels, in the order of the data set."""
    digits = load_digits()
    chosen = digits.images[digits.target == digit]
    return tuple(_png(np.round(image_HW * (255 / 16)).astype(np.uint8)) for image_HW in chosen)


def labelled(*digits: int, count: int, start: int = 0) -> list[tuple[bytes, str]]:
    """`count` pictures of each digit from number `start` on, with their labels, the digits taking turns."""
    return [(pngs(digit)[number], str(digit)) for number in range(start, start + count) for digit in digits]


def _png(grey_HW: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(grey_HW).save(file, "PNG")
    return file.getvalue()
