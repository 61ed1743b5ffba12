"""What is learned in a chain, in order: the tasks of a protocol for one seed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.pixels.pixel_cache import PixelCache

JOINT = "all tasks"

FIRST_TASK, LATER_TASK = 1, 2
"""Numbers of a first task and of one that is not, as parts of a method count them."""

ROOM_BYTES = 1 << 30
"""Decoded pictures that are kept while a task is learned; what goes beyond is decoded again each time."""


class Pictures(Protocol):
    """Pictures on demand, with the index of each one's class."""

    @property
    def classes_N(self) -> NDArray[np.int64]:
        """Index into the course's classes."""

    def __len__(self) -> int: ...

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Image `index`, H×W×3 RGB."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """One task: the classes that it brings images of, to learn from and to be judged by."""

    name: str
    classes: tuple[int, ...]
    train: Pictures
    test: Pictures


@dataclass(frozen=True, eq=False)
class Course:
    """Lessons in order."""

    protocol: str
    classes: tuple[str, ...]
    lessons: Sequence[Lesson]
    seed: int

    def labels(self, pictures: Pictures) -> list[str]:
        """Each picture's label."""
        return [self.classes[one] for one in pictures.classes_N]

    def as_one(self) -> "Course":
        """All lessons at once, for joint training."""
        classes = tuple(dict.fromkeys(one for lesson in self.lessons for one in lesson.classes))
        train = Joined([lesson.train for lesson in self.lessons])
        test = Joined([lesson.test for lesson in self.lessons])
        return replace(self, lessons=[Lesson(JOINT, classes, train, test)])


class Joined:
    """Several sets of pictures one after the other."""

    def __init__(self, parts: Sequence[Pictures]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.classes_N = np.concatenate([part.classes_N for part in parts])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Image `index`, H×W×3 RGB."""
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._parts[part].pixels(index - int(self._starts[part]))


class Decoded:
    """Pictures that stay decoded once they were looked at, while there is room."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._cache = PixelCache(pictures.pixels, ROOM_BYTES)
        self.classes_N = pictures.classes_N

    def __len__(self) -> int:
        return len(self._pictures)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Image `index`, H×W×3 RGB."""
        return self._cache(index)
