"""From the bytes a client sent to pixels: type by content, size by header before anything is decoded.

JPEG, PNG and WebP with one frame are taken. Whatever is wrong with an image ends in an `ImageError`, never in another
exception, and never in a warning on the server's console.
"""

import hashlib
import re
import warnings
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ImageFormat = Literal["JPEG", "PNG", "WEBP"]

ORIENTATION_TAG = 0x0112
"""EXIF 2.3, 4.6.4: how the stored rows and columns lie in the picture."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """An image that cannot be taken; the text says why, for the client to read."""


class UnsupportedImage(ImageError):
    """Not a JPEG, PNG or WebP, or one with several frames."""


class ImageTooLarge(ImageError):
    """More pixels than allowed, by the header."""


class BrokenImage(ImageError):
    """The right type, but the content is damaged or cut short."""


def decode(data: bytes, *, max_pixels: int) -> NDArray[np.uint8]:
    """The picture as upright RGB, HWC uint8: transparent parts over white, 16 bits scaled to 8, grey and CMYK as RGB.

    Raises `UnsupportedImage`, `ImageTooLarge` or `BrokenImage`.
    """
    image = _open(data, max_pixels)
    try:
        image.load()
        return np.array(_as_rgb(_upright(image)), dtype=np.uint8)
    except Exception as error:
        raise BrokenImage(f"the image cannot be decoded: {error}") from error


def pixel_digest(pixels_HWC: NDArray[np.uint8]) -> str:
    """SHA-256, in hex, of the shape and the pixels: the same picture whatever file format it came in."""
    digest = hashlib.sha256(repr(pixels_HWC.shape).encode())
    digest.update(np.ascontiguousarray(pixels_HWC).data)
    return digest.hexdigest()


def _open(data: bytes, max_pixels: int) -> Image.Image:
    kind = _format_of(data)
    _hush_pillow()
    try:
        image: Image.Image = Image.open(BytesIO(data), formats=(kind,))
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"the image has more than the {max_pixels} pixels allowed") from error
    except Exception as error:
        raise BrokenImage(f"the header of the {kind} image cannot be read") from error
    _check_header(image, kind, max_pixels)
    return image


def _format_of(data: bytes) -> ImageFormat:
    start = data[:12]
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    raise UnsupportedImage("not an image of a type that is taken (JPEG, PNG, WebP)")


def _check_header(image: Image.Image, kind: ImageFormat, max_pixels: int) -> None:
    # A JPEG with several pictures (MPO, as phones write it) shows its first one everywhere: it is not an animation.
    if kind != "JPEG" and getattr(image, "n_frames", 1) > 1:
        raise UnsupportedImage("the image is animated; only images of one frame are taken")
    pixels = image.width * image.height
    if pixels == 0:
        raise BrokenImage("the image has no pixels")
    if pixels > max_pixels:
        raise ImageTooLarge(f"the image has {pixels} pixels, more than the {max_pixels} allowed")


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:
        # Unreadable metadata says nothing about the picture, which is shown as it is stored.
        return image
    return image if turn is None else image.transpose(turn)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow clips 16-bit grey to 8 bits instead of scaling it.
        return Image.fromarray(np.round(np.asarray(image, np.float64) / 257).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _hush_pillow() -> None:
    # For the whole process and idempotent, since `catch_warnings` is not safe where images are decoded in threads.
    rule = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
    if rule not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
