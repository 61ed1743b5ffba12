"""Training views come from where the recipe says, and are the same for the same randomness."""

import numpy as np
import pytest

from model.backbones.spec import BackboneSpec
from model.pixels.augmentation import AUGMENTATIONS, free_crop, square_crop, stretched_crop, training_view
from model.pixels.preprocess import evaluation_view

SPEC = BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", [*AUGMENTATIONS, "none"])
@pytest.mark.parametrize("size", [(32, 32), (40, 90), (1, 1), (3, 200)])
def test_every_recipe_makes_the_backbones_square_of_any_picture(name: str, size: tuple[int, int]) -> None:
    views = [training_view(picture(*size), SPEC, np.random.default_rng(seed), name) for seed in (1, 1, 2)]
    assert views[0].shape == (32, 32, 3) and views[0].dtype == np.uint8
    np.testing.assert_array_equal(views[0], views[1])


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_views_vary(name: str) -> None:
    views = {training_view(picture(48, 48), SPEC, np.random.default_rng(seed), name).tobytes() for seed in range(20)}
    assert len(views) > 10


def test_no_augmentation_is_the_evaluation_view() -> None:
    image = picture(50, 70)
    np.testing.assert_array_equal(
        training_view(image, SPEC, np.random.default_rng(0), "none"), evaluation_view(image, SPEC)
    )


def test_square_crops_hold_thirty_to_all_of_the_area() -> None:
    boxes = [square_crop(100, 100, np.random.default_rng(seed)) for seed in range(500)]
    areas = [(right - left) * (bottom - top) / 10_000 for left, top, right, bottom in boxes]
    assert all(right - left == bottom - top for left, top, right, bottom in boxes)
    assert min(areas) >= 0.29 and max(areas) <= 1.0
    assert min(areas) < 0.35 and max(areas) > 0.95
    assert all(left >= 0 and top >= 0 and right <= 100 and bottom <= 100 for left, top, right, bottom in boxes)


def test_free_crops_keep_their_area_and_aspect() -> None:
    boxes = [free_crop(400, 400, np.random.default_rng(seed)) for seed in range(500)]
    for left, top, right, bottom in boxes:
        assert 0.07 <= (right - left) * (bottom - top) / 160_000 <= 1.0
        assert 0.74 <= (right - left) / (bottom - top) <= 1.35
        assert left >= 0 and top >= 0 and right <= 400 and bottom <= 400


def test_a_picture_that_no_crop_fits_gives_its_middle() -> None:
    assert free_crop(10, 10_000, np.random.default_rng(0)) == pytest.approx((4993.5, 0, 5006.5, 10))


def test_stretched_crops_are_224_of_300_of_each_side() -> None:
    left, top, right, bottom = stretched_crop(300, 600, np.random.default_rng(0))
    assert (right - left, bottom - top) == pytest.approx((448, 224))
    assert left >= 0 and top >= 0 and right <= 600 and bottom <= 300


def test_only_flipping_recipes_mirror() -> None:
    gradient = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], (64, 64, 3))
    for name, mirrors in (("crop", False), ("crop_flip", True)):
        rising = [
            training_view(np.ascontiguousarray(gradient), SPEC, np.random.default_rng(seed), name)[0, :, 0].astype(int)
            for seed in range(40)
        ]
        falling = sum(row[0] > row[-1] for row in rising)
        assert (8 < falling < 32) if mirrors else falling == 0


def test_brightness_moves_a_grey_picture_within_its_bounds() -> None:
    grey = np.full((32, 32, 3), 100, np.uint8)
    values = {int(training_view(grey, SPEC, np.random.default_rng(seed), "cifar100")[0, 0, 0]) for seed in range(200)}
    assert min(values) < 85 and max(values) > 115
    assert min(values) >= 75 and max(values) <= 125


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(KeyError):
        training_view(picture(8, 8), SPEC, np.random.default_rng(0), "mixup")
