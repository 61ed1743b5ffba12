"""The evaluation view is the one everybody knows, resize and crop, only cheaper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model.backbones.spec import BackboneSpec, Interpolation
from model.pixels.preprocess import evaluation_view, middle_view, shrink, turned_view


def spec_of(size: int, crop: float = 1.0, interpolation: Interpolation = "bicubic") -> BackboneSpec:
    return BackboneSpec("test_vit", size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), crop, interpolation)


def noise(height: int, width: int) -> np.ndarray:
    """No value is near the ends of the range: Pillow clips between its two passes, whose order depends on the crop."""
    return np.random.default_rng(height * width).integers(80, 176, (height, width, 3)).astype(np.uint8)


def resized_then_cropped(pixels: np.ndarray, size: int, crop: float, how: Image.Resampling) -> np.ndarray:
    height, width = pixels.shape[:2]
    short = round(size / crop)
    tall, wide = (short, int(short * width / height)) if height < width else (int(short * height / width), short)
    whole = Image.fromarray(pixels).resize((wide, tall), how)
    left, top = round((wide - size) / 2), round((tall - size) / 2)
    return np.asarray(whole.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize("shape", [(64, 64), (100, 60), (61, 97), (20, 33), (240, 180), (300, 31)])
@pytest.mark.parametrize("crop", [1.0, 0.875, 0.9])
def test_the_view_is_resize_then_central_crop(shape: tuple[int, int], crop: float) -> None:
    pixels = noise(*shape)
    expected = resized_then_cropped(pixels, 48, crop, Image.Resampling.BICUBIC).astype(int)
    assert np.abs(evaluation_view(pixels, spec_of(48, crop)) - expected).max() <= 1


def test_bilinear_is_bilinear() -> None:
    expected = resized_then_cropped(noise(90, 70), 32, 1.0, Image.Resampling.BILINEAR).astype(int)
    assert np.abs(evaluation_view(noise(90, 70), spec_of(32, 1.0, "bilinear")) - expected).max() <= 1


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    np.testing.assert_array_equal(evaluation_view(noise(48, 48), spec_of(48)), noise(48, 48))


def test_the_middle_view_is_the_middle() -> None:
    np.testing.assert_array_equal(middle_view(noise(64, 64), spec_of(56)), noise(64, 64)[4:60, 4:60])
    slope = np.mgrid[0:128, 0:170].transpose(1, 2, 0).astype(np.uint8)
    picture = np.concatenate([slope, slope[..., :1]], axis=2)
    whole = evaluation_view(picture, spec_of(64, 0.9))
    again = evaluation_view(whole[4:60, 4:60], spec_of(64)).astype(int)
    assert np.abs(middle_view(picture, spec_of(64, 0.9)) - again).max() <= 3


def test_the_turned_view_is_the_evaluation_view_upside_down() -> None:
    turned = turned_view(noise(90, 70), spec_of(32))
    np.testing.assert_array_equal(turned, np.rot90(evaluation_view(noise(90, 70), spec_of(32)), 2))
    assert turned.flags.c_contiguous


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from([1.0, 0.9, 0.875, 0.5]))
def test_any_shape_gives_the_square(height: int, width: int, crop: float) -> None:
    view = evaluation_view(np.full((height, width, 3), 77, np.uint8), spec_of(32, crop))
    assert view.shape == (32, 32, 3) and view.dtype == np.uint8 and (view == 77).all()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("shape", [(1, 500_000), (500_000, 1)])
def test_a_thread_of_pixels_costs_no_more_than_a_picture(shape: tuple[int, int]) -> None:
    assert evaluation_view(np.zeros((*shape, 3), np.uint8), spec_of(64)).shape == (64, 64, 3)


def test_shrinking_caps_the_short_side_and_keeps_the_shape() -> None:
    assert shrink(noise(100, 250), 50).shape == (50, 125, 3)
    assert shrink(noise(250, 100), 50).shape == (125, 50, 3)


def test_small_pictures_are_never_enlarged() -> None:
    small = noise(30, 200)
    assert shrink(small, 30) is small and shrink(small, 64) is small


def test_shrinking_averages_what_it_leaves_out() -> None:
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    grey = shrink(np.repeat(checks[..., None], 3, axis=2).astype(np.uint8), 16).astype(int)
    assert np.abs(grey[4:-4, 4:-4] - 127).max() < 20
