"""Which images of a task only judge: chosen once, at the claim, from what the images are, never by chance or time."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

FEWEST_IMAGES = 5
"""From so many images of a class on, at least one is held out."""


class Candidate(Protocol):
    """What the choice needs to know of an image."""

    @property
    def label(self) -> str: ...
    @property
    def pixel_digest(self) -> str: ...
    @property
    def split(self) -> str | None: ...


@dataclass(frozen=True)
class HoldoutRule:
    """`fraction` of each class in 0–1, at most `per_class` images of a class over all tasks."""

    fraction: float
    per_class: int


def split(images: Sequence[Candidate], held_before: Mapping[str, int], rule: HoldoutRule, seed: int) -> list[str]:
    """`train` or `held_out` for each image, in their order.

    Where the client named any split, its word holds and unnamed images are trained on. `held_before` counts the
    held-out images of a class in earlier tasks of the lineage.
    """
    if any(image.split for image in images):
        return [image.split or "train" for image in images]
    by_class: dict[str, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_class[image.label].append(index)
    held = {
        index
        for label, members in by_class.items()
        for index in _drawn(images, members, _quota(len(members), held_before.get(label, 0), rule), seed)
    }
    return ["held_out" if index in held else "train" for index in range(len(images))]


def _quota(images: int, held_before: int, rule: HoldoutRule) -> int:
    if rule.fraction == 0 or images < FEWEST_IMAGES:
        return 0
    return max(0, min(max(1, round(images * rule.fraction)), rule.per_class - held_before))


def _drawn(images: Sequence[Candidate], members: Sequence[int], quota: int, seed: int) -> list[int]:
    def lot(index: int) -> str:
        return hashlib.sha256(f"{seed}:{images[index].pixel_digest}".encode()).hexdigest()

    return sorted(members, key=lot)[:quota]
