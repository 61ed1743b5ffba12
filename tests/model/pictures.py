"""Small made pictures that a tiny network can tell apart: each class is a colour pattern under noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def made(classes: Sequence[int], per_class: int, seed: int = 0, side: int = 32) -> tuple[list[np.ndarray], list[str]]:
    """Pictures of these classes, class by class, and their labels `c0`, `c1` …"""
    rng = np.random.default_rng(seed)
    pictures, labels = [], []
    for one in classes:
        pattern = np.kron(
            np.random.default_rng(1_000 + one).integers(0, 256, (4, 4, 3)), np.ones((side // 4,) * 2 + (1,))
        )
        for _ in range(per_class):
            noisy = pattern + rng.normal(0, 25, pattern.shape)
            pictures.append(np.clip(noisy, 0, 255).astype(np.uint8))
            labels.append(f"c{one}")
    return pictures, labels


@dataclass(frozen=True)
class Pictures:
    """What the slow learner asks for."""

    pictures: list[np.ndarray]
    columns_N: np.ndarray

    def __len__(self) -> int:
        return len(self.pictures)

    def pixels(self, index: int) -> np.ndarray:
        return self.pictures[index]
