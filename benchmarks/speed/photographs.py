"""Photographs to measure with, cut out of the two that scikit-learn ships: real textures, as many as one needs."""

import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from everclass.images import LabelledImage

SIDE = 256
CLASSES_A_PHOTOGRAPH = 25


def photographs(classes: range, images: int, seed: int = 0) -> list[LabelledImage]:
    """`images` JPEG files of SIDE × SIDE pixels for each class.

    A class is a place in one of the photographs; its images are crops around it, of differing size.
    """
    sources = [Image.fromarray(array) for array in load_sample_images().images]
    rng = np.random.default_rng(seed)
    return [
        LabelledImage(f"place {number}", _jpeg(_crop(sources, number, rng)), name=f"place-{number}-{index}.jpg")
        for number in classes
        for index in range(images)
    ]


def _crop(sources: list[Image.Image], number: int, rng: np.random.Generator) -> Image.Image:
    source = sources[number // CLASSES_A_PHOTOGRAPH % len(sources)]
    row, column = divmod(number % CLASSES_A_PHOTOGRAPH, 5)
    side = rng.integers(120, 200)
    left = (source.width - side) * (column + rng.uniform(0, 0.5)) / 5
    top = (source.height - side) * (row + rng.uniform(0, 0.5)) / 5
    return source.crop((int(left), int(top), int(left + side), int(top + side))).resize((SIDE, SIDE))


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=90)
    return file.getvalue()
