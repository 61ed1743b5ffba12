"""Training views: a random part of a picture, brought to the backbone's square, perhaps mirrored and brightened.

Every recipe is one box, one resize, one flip, one factor; the reference's recipes are those of its `utils/data.py`.
What is drawn (`Cut`) and what is done with it stand apart, so that a GPU can do it for a batch at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.backbones.spec import BackboneSpec
from model.pixels.preprocess import RESAMPLING, evaluation_view

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

CropRule = Callable[[int, int, np.random.Generator], Box]
"""A box from height, width and randomness."""

ATTEMPTS = 10
"""Boxes that are drawn before a crop of free aspect gives up and takes the middle."""


@dataclass(frozen=True)
class Augmentation:
    """One recipe: where to crop, whether to mirror every second view, how far brightness may go (± around 1)."""

    crop: CropRule
    flip: bool
    brightness: float = 0.0


@dataclass(frozen=True)
class Cut:
    """What was drawn for one view: the box of the picture, whether it is mirrored, the factor of its brightness."""

    box: Box
    mirrored: bool = False
    brightness: float = 1.0


def drawn_cut(height: int, width: int, rng: np.random.Generator, name: str) -> Cut:
    """A cut of a picture of this size by the recipe of this name.

    Raises KeyError for a name that is not in `AUGMENTATIONS`.
    """
    recipe = AUGMENTATIONS[name]
    box = recipe.crop(height, width, rng)
    mirrored = recipe.flip and bool(rng.random() < 0.5)
    if not recipe.brightness:
        return Cut(box, mirrored)
    return Cut(box, mirrored, rng.uniform(1 - recipe.brightness, 1 + recipe.brightness))


def training_view(pixels_HWC: Pixels, spec: BackboneSpec, rng: np.random.Generator, name: str) -> Pixels:
    """A view of `spec.image_size` pixels a side by the recipe of this name; `none` is the evaluation view.

    Raises KeyError for a name that is not in `AUGMENTATIONS`.
    """
    if name == "none":
        return evaluation_view(pixels_HWC, spec)
    height, width = pixels_HWC.shape[:2]
    cut = drawn_cut(height, width, rng, name)
    square = (spec.image_size, spec.image_size)
    image = Image.fromarray(pixels_HWC).resize(square, RESAMPLING[spec.interpolation], box=cut.box)
    view_HWC = np.array(image, dtype=np.uint8)
    if cut.mirrored:
        view_HWC = np.ascontiguousarray(view_HWC[:, ::-1])
    if cut.brightness != 1:
        view_HWC = np.clip(np.arange(256) * cut.brightness, 0, 255).astype(np.uint8)[view_HWC]
    return view_HWC


def square_crop(height: int, width: int, rng: np.random.Generator) -> Box:
    """A square of 30–100 % of the area, as far as the short side allows, anywhere in the picture."""
    side = round(sqrt(rng.uniform(0.3, 1.0) * height * width))
    return _placed(min(side, height, width), min(side, height, width), height, width, rng)


def free_crop(height: int, width: int, rng: np.random.Generator) -> Box:
    """8–100 % of the area in an aspect of 3:4 to 4:3 (RandomResizedCrop); the middle where none fits."""
    for _ in range(ATTEMPTS):
        area = rng.uniform(0.08, 1.0) * height * width
        aspect = exp(rng.uniform(log(3 / 4), log(4 / 3)))
        crop_height, crop_width = round(sqrt(area / aspect)), round(sqrt(area * aspect))
        if 0 < crop_height <= height and 0 < crop_width <= width:
            return _placed(crop_height, crop_width, height, width, rng)
    crop_height = min(height, max(1, round(width * 4 / 3)))
    crop_width = min(width, max(1, round(height * 4 / 3)))
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    return left, top, left + crop_width, top + crop_height


def stretched_crop(height: int, width: int, rng: np.random.Generator) -> Box:
    """224/300 of each side anywhere: the whole picture stretched to 300×300, then a crop of 224."""
    crop_height, crop_width = height * 224 / 300, width * 224 / 300
    left, top = rng.uniform(0, width - crop_width), rng.uniform(0, height - crop_height)
    return left, top, left + crop_width, top + crop_height


def _placed(crop_height: int, crop_width: int, height: int, width: int, rng: np.random.Generator) -> Box:
    top, left = int(rng.integers(height - crop_height + 1)), int(rng.integers(width - crop_width + 1))
    return left, top, left + crop_width, top + crop_height


AUGMENTATIONS: dict[str, Augmentation] = {
    "crop_flip": Augmentation(square_crop, flip=True),
    "crop": Augmentation(square_crop, flip=False),
    "cifar100": Augmentation(free_crop, flip=True, brightness=63 / 255),
    "imagenet": Augmentation(free_crop, flip=True),
    "cub": Augmentation(stretched_crop, flip=True),
}
"""`none` beside these is the evaluation view."""
