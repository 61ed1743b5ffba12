"""Which images of a task only judge: chosen once, at the claim, from what the images are, never by chance or time."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stream.tasks import Split

FEWEST_IMAGES = 5
"""From so many images of a class on, at least one is held out."""


class Candidate(Protocol):
    """What the choice needs to know of an image."""

    @property
    def label(self) -> str: ...
    @property
    def pixel_digest(self) -> str: ...
    @property
    def split(self) -> Split | None: ...


@dataclass(frozen=True)
class HoldoutRule:
    """`fraction` of each class in 0–1, at most `per_class` images of a class over all tasks."""

    fraction: float
    per_class: int


@dataclass(frozen=True)
class HeldBefore:
    """What earlier tasks of the lineage hold out (images by class, and the pictures), and which of the task's pictures
    they learned from.
    """

    by_label: Mapping[str, int] = field(default_factory=dict)
    digests: frozenset[str] = frozenset()
    trained: frozenset[str] = frozenset()


def split(images: Sequence[Candidate], before: HeldBefore, rule: HoldoutRule, seed: int) -> list[Split]:
    """`train` or `held_out` for each image, in their order.

    Where the client named any split, its word holds and unnamed images are trained on. A picture that is sent again
    stays what it was: one that an earlier task holds out goes on judging, one that was learned from never judges.
    """
    chosen = _named(images) or _drawn(images, before, rule, seed)
    return [_as_before(image.pixel_digest, before) or part for image, part in zip(images, chosen, strict=True)]


def _as_before(pixel_digest: str, before: HeldBefore) -> Split | None:
    if pixel_digest in before.digests:
        return "held_out"
    return "train" if pixel_digest in before.trained else None


def _named(images: Sequence[Candidate]) -> list[Split] | None:
    if not any(image.split for image in images):
        return None
    return [image.split or "train" for image in images]


def _drawn(images: Sequence[Candidate], before: HeldBefore, rule: HoldoutRule, seed: int) -> list[Split]:
    by_class: dict[str, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        if image.pixel_digest not in before.trained:
            by_class[image.label].append(index)

    def lot(index: int) -> str:
        return hashlib.sha256(f"{seed}:{images[index].pixel_digest}".encode()).hexdigest()

    held: set[int] = set()
    for label, members in by_class.items():
        held.update(sorted(members, key=lot)[: _quota(len(members), before.by_label.get(label, 0), rule)])
    return ["held_out" if index in held else "train" for index in range(len(images))]


def _quota(images: int, held_before: int, rule: HoldoutRule) -> int:
    if rule.fraction == 0 or images < FEWEST_IMAGES:
        return 0
    return max(0, min(max(1, round(images * rule.fraction)), rule.per_class - held_before))
