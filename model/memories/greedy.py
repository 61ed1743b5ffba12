"""GDumb: a class-balanced buffer is all that is remembered, and all that is learned from, from the beginning."""

from dataclasses import dataclass

import numpy as np

from model.memories.album import Album
from model.memories.selection import BUFFER, balanced
from model.method import TaskEnd, TaskStart
from model.training.stage import LabelledImages, Penalty, Tensors


@dataclass(frozen=True)
class GreedyMemory:
    """Stage 1 trains on the buffer alone, the task's images being in it; `capacity` images, None for all.

    For methods of scope `seen`. With `restarts` GDumb (method.md 4, at the slow learner's rates), and with all images
    joint training done anew at each task.
    """

    capacity: int | None = BUFFER

    def lesson(self, kept: Tensors, start: TaskStart) -> LabelledImages:
        """The buffer with the task's images sorted in."""
        return self._sorted_in(kept, start, start.images)

    def begin(self, kept: Tensors, start: TaskStart) -> Penalty | None:
        """Nothing is added to the loss."""
        return None

    def finish(self, kept: Tensors, end: TaskEnd) -> Tensors:
        """The same buffer again."""
        return self._sorted_in(kept, end.start, end.images).to_tensors()

    def without(self, kept: Tensors, column: int) -> Tensors:
        """The buffer without the class's images."""
        return Album.from_tensors(kept).without(column)[0].to_tensors()

    def _sorted_in(self, kept: Tensors, start: TaskStart, images: LabelledImages) -> Album:
        album = Album.from_tensors(kept)
        both = album.plus(Album.of(images, start.block.image_columns_N, start.network.spec))
        rng = np.random.default_rng([start.plan.seed, start.block.number])
        return both.rows(balanced(both.columns_N, len(album), self.capacity, rng))
