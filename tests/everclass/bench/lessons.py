"""A course of small made pictures, and how a tiny network is trained on it."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from everclass.bench.course import Course, Lesson
from everclass.bench.recipe import Recipe, Training
from model.backbones.backbone import build
from tests.model.pictures import made


@dataclass(frozen=True, eq=False)
class Made:
    """Made pictures of some classes."""

    classes_N: np.ndarray
    pictures: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.pictures)

    def pixels(self, index: int) -> np.ndarray:
        return self.pictures[index]


def pictures(classes: tuple[int, ...], each: int, seed: int) -> Made:
    found, _ = made(classes, each, seed)
    return Made(np.repeat(np.array(classes, dtype=np.int64), each), found)


def course(*tasks: tuple[int, ...], seed: int = 1993) -> Course:
    lessons = [
        Lesson(f"task {number}", classes, pictures(classes, 8, number), pictures(classes, 5, 50 + number))
        for number, classes in enumerate(tasks)
    ]
    return Course("made", tuple(f"c{one}" for one in range(12)), lessons, seed)


RECIPE = replace(Recipe(2, (1,)).small(), batch=8)
TRAINING = Training(RECIPE.spec("test_vit", 32), RECIPE, backbone_lr=1e-3, threads=1)


def weights() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(TRAINING.spec).state()
