"""Images of every kind that a client may send."""

import struct
import warnings
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from model.pixels.images import (
    BrokenImage,
    ImageError,
    ImageTooLarge,
    UnsupportedImage,
    decode,
    pixel_digest,
)

LIMIT = 10_000
ORIENTATION = 0x0112


def encoded(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def scene(width: int = 12, height: int = 8) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def lossless(kind: str) -> dict[str, Any]:
    return {"lossless": True} if kind == "WEBP" else {}


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_lossless_images_give_their_pixels(kind: str) -> None:
    pixels = decode(encoded(scene(), kind, **lossless(kind)), max_pixels=LIMIT)
    np.testing.assert_array_equal(pixels, np.asarray(scene()))
    assert pixels.dtype == np.uint8 and pixels.flags.writeable


def test_a_jpeg_gives_nearly_its_pixels() -> None:
    flat = Image.new("RGB", (16, 16), (200, 100, 50))
    pixels = decode(encoded(flat, "JPEG"), max_pixels=LIMIT).astype(int)
    assert np.abs(pixels - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM"])
def test_other_types_are_refused_whatever_they_are_called(kind: str) -> None:
    with pytest.raises(UnsupportedImage):
        decode(encoded(scene(), kind), max_pixels=LIMIT)


@pytest.mark.parametrize("data", [b"", b"\xff", b"hello, this is text", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedImage):
        decode(data, max_pixels=LIMIT)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedImage, match="animated"):
        decode(data, max_pixels=LIMIT)


def test_a_phone_s_jpeg_with_a_second_picture_shows_its_first() -> None:
    pair = [Image.new("RGB", (16, 8), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    data = encoded(pair[0], "MPO", save_all=True, append_images=pair[1:])
    shown = decode(data, max_pixels=LIMIT)
    assert shown.shape == (8, 16, 3) and shown[0, 0, 0] > 200


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_too_many_pixels_are_refused_by_the_header_alone(kind: str) -> None:
    data = encoded(Image.new("RGB", (101, 100)), kind)
    with pytest.raises(ImageTooLarge, match="10100 pixels"):
        decode(data, max_pixels=LIMIT)
    assert decode(data, max_pixels=10_100).shape == (100, 101, 3)


@pytest.mark.parametrize("side", [12_000, 30_000])
def test_a_bomb_is_refused_without_a_warning_or_the_memory(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(bytes(100)))
        + _chunk(b"IEND", b"")
    )
    with pytest.raises(ImageTooLarge):
        decode(bomb, max_pixels=LIMIT)


def test_a_jpeg_without_rows_is_broken() -> None:
    data = bytearray(encoded(scene(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 7] = b"\x00\x00"
    with pytest.raises(BrokenImage):
        decode(bytes(data), max_pixels=LIMIT)


def test_an_image_without_pixels_is_broken() -> None:
    header = struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0)
    with pytest.raises(BrokenImage):
        decode(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IEND", b""), max_pixels=LIMIT)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_truncated_image_is_broken(kind: str, kept: float) -> None:
    data = encoded(scene(80, 60), kind)
    with pytest.raises(BrokenImage):
        decode(data[: int(len(data) * kept)], max_pixels=LIMIT)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_only_a_magic_number_is_broken(kind: str) -> None:
    with pytest.raises(BrokenImage):
        decode(encoded(scene(), kind)[:14], max_pixels=LIMIT)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damage_anywhere_ends_in_pixels_or_an_image_error(kind: str) -> None:
    whole, random = encoded(scene(40, 30), kind), np.random.default_rng(1)
    for _ in range(150):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 4):
            data[place] = random.integers(0, 256)
        try:
            assert decode(bytes(data), max_pixels=LIMIT).ndim == 3
        except ImageError as error:
            assert str(error)


def test_every_error_is_one_tree() -> None:
    assert all(issubclass(leaf, ImageError) for leaf in (UnsupportedImage, ImageTooLarge, BrokenImage))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_upright(kind: str, orientation: int) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = (255, 0, 0)
    upright[8:, 16:] = (0, 0, 255)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, quality=100, **lossless(kind))
    pixels = decode(data, max_pixels=LIMIT)
    assert pixels.shape == upright.shape
    assert np.abs(pixels[[2, 2, 13], [2, 29, 29]].astype(int) - upright[[2, 2, 13], [2, 29, 29]]).max() < 40


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff", b"Exif\x00\x00nonsense", b"nonsense"])
def test_unreadable_exif_leaves_the_picture_as_it_is_stored(kind: str, exif: bytes) -> None:
    assert decode(encoded(scene(), kind, exif=exif), max_pixels=LIMIT).shape == (8, 12, 3)


def test_alpha_lies_over_white() -> None:
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 0] = 200
    pixels[0, :, 3] = (0, 128, 255)
    clear, half, full = decode(encoded(Image.fromarray(pixels)), max_pixels=LIMIT)[0].astype(int)
    assert clear.tolist() == [255, 255, 255] and full.tolist() == [200, 0, 0]
    assert np.abs(half - (227, 127, 127)).max() <= 1


def test_grey_with_alpha_lies_over_white() -> None:
    image = Image.fromarray(np.array([[[10, 0], [10, 255]]], np.uint8), mode=None).convert("LA")
    assert decode(encoded(image), max_pixels=LIMIT)[0].tolist() == [[255] * 3, [10] * 3]


def test_a_palette_with_a_transparent_entry_lies_over_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    plain = decode(encoded(image), max_pixels=LIMIT)
    assert plain[0].tolist() == [[10, 20, 30], [40, 50, 60]]
    for transparency in (0, b"\x00\xff"):
        over_white = decode(encoded(image, transparency=transparency), max_pixels=LIMIT)
        assert over_white[0].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_grey_and_black_and_white_become_rgb() -> None:
    grey = Image.fromarray(np.array([[0, 77, 255]], np.uint8))
    assert decode(encoded(grey), max_pixels=LIMIT)[0].tolist() == [[0] * 3, [77] * 3, [255] * 3]
    assert decode(encoded(grey.convert("1", dither=Image.Dither.NONE)), max_pixels=LIMIT)[0, 2].tolist() == [255] * 3


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    deep = Image.fromarray(np.array([[0, 257 * 10, 257 * 128, 65_535]], np.uint16))
    assert decode(encoded(deep), max_pixels=LIMIT)[0, :, 0].tolist() == [0, 10, 128, 255]


def test_sixteen_bit_colour_keeps_its_high_bytes() -> None:
    row = b"\x00" + struct.pack(">6H", 257 * 10, 257 * 20, 257 * 30, 65_535, 0, 257 * 200)
    png = _chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)) + _chunk(b"IDAT", zlib.compress(row))
    pixels = decode(b"\x89PNG\r\n\x1a\n" + png + _chunk(b"IEND", b""), max_pixels=LIMIT)
    assert pixels[0].tolist() == [[10, 20, 30], [255, 0, 200]]


def test_cmyk_becomes_rgb() -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    red, green, blue = decode(encoded(cyan, "JPEG"), max_pixels=LIMIT)[8, 8].astype(int)
    assert red < 10 and green > 245 and blue > 245


def test_pillow_has_nothing_to_say_on_the_console() -> None:
    image = encoded(scene(), "JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x00\x00")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decode(image, max_pixels=LIMIT)
    assert caught == []


def test_the_digest_is_of_the_picture_not_of_the_file() -> None:
    png, webp = encoded(scene()), encoded(scene(), "WEBP", lossless=True)
    assert pixel_digest(decode(png, max_pixels=LIMIT)) == pixel_digest(decode(webp, max_pixels=LIMIT))


def test_the_digest_tells_shapes_apart_and_reads_any_memory_layout() -> None:
    flat = np.zeros((2, 3, 3), np.uint8)
    assert pixel_digest(flat) != pixel_digest(flat.reshape(3, 2, 3))
    turned = np.asarray(scene()).transpose(1, 0, 2)
    assert pixel_digest(turned) == pixel_digest(np.ascontiguousarray(turned))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
