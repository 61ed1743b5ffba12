"""Methods that break one promise each, as functions of a module: another process makes its own."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from model.aligners import ClosedFormAligner
from model.heads.head import Head
from model.method import Aligned, AlignmentTask, Method, Source, TaskEnd, TaskStart
from model.methods import METHODS
from model.pixels.preprocess import evaluation_view
from model.training.stage import Penalty, Step, Tensors

SLOW_LEARNER, DISCRIMINANT = METHODS["sl"], METHODS["lda"]

PUT_AWAY: dict[str, Tensor] = {}
"""What a process remembers, whoever asks."""


@dataclass(eq=False)
class Pull:
    """Features are pulled to zero, each step by `growth` more; that of other pictures too, where there are any."""

    strength: float = 0.01
    growth: float = 0.0
    pictures_NHWC: Tensor | None = None
    loss_weight: float = 1.0

    def __call__(self, step: Step) -> Tensor:
        features_ND = step.features_BD if self.pictures_NHWC is None else step.backbone(self.pictures_NHWC)
        self.strength += self.growth
        return self.strength * features_ND.square().mean()

    def state(self) -> dict[str, Tensor]:
        return {}

    def take(self, state: Tensors) -> None:
        pass


@dataclass(frozen=True)
class Hoarding:
    """The first task's pictures, put away in `place` and shown to the network again from task `since` on."""

    since: int
    place: dict[str, Tensor] = field(default_factory=dict)

    def begin(self, kept: Tensors, start: TaskStart) -> Penalty | None:
        if start.block.number < self.since or "first" not in self.place:
            return None
        return Pull(pictures_NHWC=self.place["first"])

    def finish(self, kept: Tensors, end: TaskEnd) -> Tensors:
        if end.start.block.number == 1:
            shown = [evaluation_view(end.images.pixels(index), end.network.spec) for index in range(4)]
            self.place["first"] = torch.from_numpy(np.stack(shown))
        return {}


@dataclass(frozen=True)
class Pulling:
    """A pull that is made anew for each task, but for those after task `last`."""

    pull: Callable[[], Pull]
    last: int = 1_000

    def begin(self, kept: Tensors, start: TaskStart) -> Penalty | None:
        return self.pull() if start.block.number <= self.last else None

    def finish(self, kept: Tensors, end: TaskEnd) -> Tensors:
        return {}


@dataclass(frozen=True)
class Discriminant:
    """The linear discriminant, or a head of one `value` where the task is too much for it."""

    too_much: Callable[[AlignmentTask], bool]
    value: float
    is_in_head: bool = True
    on_first_task: bool = True
    reads: frozenset[Source] = frozenset({"statistics"})

    def align(self, task: AlignmentTask) -> Aligned:
        aligned = ClosedFormAligner("lda").align(task)
        if not self.too_much(task):
            return aligned
        head = aligned.head
        return Aligned(Head(np.full_like(head.weight_CD, self.value), np.full_like(head.bias_C, self.value)))

    def classifier(self, head: Head, kept: Tensors) -> Head:
        return head


def hoards_in_a_global() -> Method:
    return replace(SLOW_LEARNER, regulariser=Hoarding(since=2, place=PUT_AWAY))


def hoards_in_a_global_for_later() -> Method:
    return replace(SLOW_LEARNER, regulariser=Hoarding(since=3, place=PUT_AWAY))


def keeps_its_state_to_itself() -> Method:
    return replace(SLOW_LEARNER, regulariser=Hoarding(since=3))


def stores_nothing_with_a_checkpoint() -> Method:
    return replace(SLOW_LEARNER, regulariser=Pulling(lambda: Pull(growth=0.01)))


def asks_python_for_chance() -> Method:
    return replace(SLOW_LEARNER, regulariser=Pulling(lambda: Pull(random.random()), last=1))


def asks_torch_for_chance() -> Method:
    return replace(SLOW_LEARNER, regulariser=Pulling(lambda: Pull(float(torch.rand(()))), last=1))


def asks_numpy_for_chance() -> Method:
    return replace(SLOW_LEARNER, regulariser=Pulling(lambda: Pull(np.random.random()), last=1))


def needs_two_classes_to_begin() -> Method:
    return replace(DISCRIMINANT, aligner=Discriminant(lambda task: sum(task.blocks_C == 1) < 2, 0.0))


def needs_two_classes_to_begin_among_all() -> Method:
    return replace(needs_two_classes_to_begin(), scope="seen")


def has_room_for_four_tasks() -> Method:
    return replace(DISCRIMINANT, aligner=Discriminant(lambda task: task.block > 4, np.nan))
