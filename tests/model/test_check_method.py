"""The one suite fails methods that stop learning, or that keep images where none are declared."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from model.head import Head
from model.method import Aligned, AlignmentTask, Source, TaskEnd, TaskStart
from model.methods import METHODS
from model.stage import Penalty, Tensors
from tests.model.check_method import declares_its_memory, learns


@dataclass(frozen=True)
class FirstTaskOnly:
    """Rows of zeros, far below all others, for every class that a later task brings."""

    is_linear: bool = True
    on_first_task: bool = False
    reads: frozenset[Source] = frozenset({"head"})

    def align(self, task: AlignmentTask) -> Aligned:
        late_C = task.blocks_C > 1
        weight_CD = np.where(late_C[:, None], 0, task.unaligned.weight_CD).astype(np.float32)
        return Aligned(Head(weight_CD, np.where(late_C, -1000, task.unaligned.bias_C).astype(np.float32)))

    def classifier(self, head: Head, kept: Tensors) -> Head:
        return head


@dataclass(frozen=True)
class Hoard:
    """Every picture of the last task, beside what other parts keep."""

    def begin(self, kept: Tensors, start: TaskStart) -> Penalty | None:
        return None

    def finish(self, kept: Tensors, end: TaskEnd) -> Tensors:
        shown = [torch.from_numpy(end.images.pixels(index)) for index in range(len(end.images))]
        return {"x": torch.stack(shown).float() / 255}


def test_a_method_that_stops_learning_after_the_first_task_fails() -> None:
    with pytest.raises(AssertionError):
        learns(replace(METHODS["sl"], aligner=FirstTaskOnly()))


def test_a_method_that_hides_pictures_fails() -> None:
    with pytest.raises(AssertionError):
        declares_its_memory(replace(METHODS["sl"], regulariser=Hoard()))


def test_pictures_in_the_memory_are_declared() -> None:
    declares_its_memory(METHODS["replay_all"])
