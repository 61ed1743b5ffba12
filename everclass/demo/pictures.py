"""The images that the demonstration teaches, as lessons of a few classes each."""

import io
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from everclass.images import LabelledImage, folder_images

if TYPE_CHECKING:
    from PIL import Image

LEARNED = 0.8
SEED = 0


@dataclass(frozen=True)
class Lesson:
    """One task: its labels, what is taught, and what only the demonstration itself asks about afterwards."""

    labels: tuple[str, ...]
    taught: tuple[LabelledImage, ...]
    asked: tuple[LabelledImage, ...]


def digits() -> list[LabelledImage]:
    """The 1,797 handwritten digits that scikit-learn ships, as PNG files of 8 × 8 grey pixels."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    scaled = (data.images / 16 * 255).round().astype("uint8")
    return [
        LabelledImage(str(label), _png(Image.fromarray(pixels_HW)), name=f"digit-{number}.png")
        for number, (pixels_HW, label) in enumerate(zip(scaled, data.target, strict=True))
    ]


def folder(path: Path) -> list[LabelledImage]:
    """The images of a tree with one folder a class."""
    return list(folder_images(path))


def lessons(images: Iterable[LabelledImage], tasks: int) -> list[Lesson]:
    """The classes in the order of their labels, dealt out to `tasks` lessons; four fifths of each class are taught.

    The same images give the same lessons. Raises ValueError where a lesson would have no class or nothing to ask about.
    """
    by_label: dict[str, list[LabelledImage]] = {}
    for image in images:
        by_label.setdefault(image.label, []).append(image)
    if tasks < 2 or len(by_label) < tasks:
        raise ValueError(f"{len(by_label)} classes cannot be learned as {tasks} tasks; at least two tasks are needed")
    labels = sorted(by_label)
    edges = [round(number * len(labels) / tasks) for number in range(tasks + 1)]
    return [_lesson(by_label, labels[start:end]) for start, end in pairwise(edges)]


def _lesson(by_label: dict[str, list[LabelledImage]], labels: Sequence[str]) -> Lesson:
    taught: list[LabelledImage] = []
    asked: list[LabelledImage] = []
    for label in labels:
        shuffled = random.Random(f"{SEED} {label}").sample(by_label[label], len(by_label[label]))
        cut = min(max(1, round(LEARNED * len(shuffled))), max(1, len(shuffled) - 1))
        taught += shuffled[:cut]
        asked += shuffled[cut:]
    if not asked:
        raise ValueError(
            f"{', '.join(labels)}: a task needs a class with two images, one to learn and one to ask about"
        )
    return Lesson(tuple(labels), tuple(taught), tuple(asked))


def _png(image: "Image.Image") -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()
