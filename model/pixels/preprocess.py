"""How a picture of any size becomes the square that a backbone takes. Learner and server both come through here."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.backbones.spec import BackboneSpec, Interpolation

View = Callable[[NDArray[np.uint8], BackboneSpec], NDArray[np.uint8]]
"""What of a picture, H×W×3, a backbone sees: a square of the spec's size."""

RESAMPLING: Final[dict[Interpolation, Image.Resampling]] = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


def evaluation_view(pixels_HWC: NDArray[np.uint8], spec: BackboneSpec) -> NDArray[np.uint8]:
    """The central square of `spec.image_size` pixels a side, after the short side became image_size / crop_fraction.

    The same pixels as resizing first and cropping then, but only the square is computed, so that a picture of one by a
    million pixels costs no more than another.
    """
    height, width = pixels_HWC.shape[:2]
    box = evaluation_box(height, width, spec)
    square = (spec.image_size, spec.image_size)
    image = Image.fromarray(pixels_HWC).resize(square, RESAMPLING[spec.interpolation], box=box)
    return np.array(image, dtype=np.uint8)


def evaluation_box(height: int, width: int, spec: BackboneSpec) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of what the evaluation view shows of a picture of this size, in its pixels."""
    scale = _resized_short_side(spec) / min(height, width)
    left, right = _span(width, scale, spec.image_size)
    top, bottom = _span(height, scale, spec.image_size)
    return left, top, right, bottom


MIDDLE: Final = 7 / 8
"""Part of each side of the evaluation view that `middle_view` shows."""


def middle_view(pixels_HWC: NDArray[np.uint8], spec: BackboneSpec) -> NDArray[np.uint8]:
    """The middle of the evaluation view: the same picture as if taken from nearer by.

    It is not mirrored, which gained as much where that is harmless, and where it is not would make a class of two.
    """
    return evaluation_view(pixels_HWC, replace(spec, crop_fraction=spec.crop_fraction * MIDDLE))


def turned_view(pixels_HWC: NDArray[np.uint8], spec: BackboneSpec) -> NDArray[np.uint8]:
    """The evaluation view upside down."""
    return np.ascontiguousarray(evaluation_view(pixels_HWC, spec)[::-1, ::-1])


def shrink(pixels_HWC: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """The picture with a short side of at most `short_side` pixels, its shape kept; smaller ones as they are."""
    height, width = pixels_HWC.shape[:2]
    scale = short_side / min(height, width)
    if scale >= 1:
        return pixels_HWC
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.array(Image.fromarray(pixels_HWC).resize(size, Image.Resampling.BICUBIC), dtype=np.uint8)


def _resized_short_side(spec: BackboneSpec) -> int:
    return max(round(spec.image_size / spec.crop_fraction), spec.image_size)


def _span(length: int, scale: float, size: int) -> tuple[float, float]:
    """Where the central `size` pixels of a resized side begin and end in the side of `length` pixels it came from."""
    resized = max(int(length * scale + 1e-6), size)
    start = round((resized - size) / 2)
    return start * length / resized, (start + size) * length / resized
