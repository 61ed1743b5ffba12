"""The one suite fails methods that stop learning, keep images where none are declared, or break another promise."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from model.heads.head import Head
from model.method import Aligned, AlignmentTask, Method, Source, TaskEnd, TaskStart
from model.methods import METHODS
from model.training.stage import Penalty, Tensors
from tests.model import broken_methods, check_method
from tests.model.check_method import CHECKS, Which, declares_its_memory, learns


@dataclass(frozen=True)
class FirstTaskOnly:
    """Rows of zeros, far below all others, for every class that a later task brings."""

    is_in_head: bool = True
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
    """The first pictures that come, `room` of them at most, beside what other parts keep."""

    put_away: Callable[[torch.Tensor], torch.Tensor]
    room: int = 1_000
    filled_up: bool = False

    def begin(self, kept: Tensors, start: TaskStart) -> Penalty | None:
        return None

    def finish(self, kept: Tensors, end: TaskEnd) -> Tensors:
        shown = [torch.from_numpy(end.images.pixels(index)) for index in range(len(end.images))][: self.room]
        if self.filled_up:
            shown += [torch.zeros_like(shown[0])] * (self.room - len(shown))
        return kept or {"x": self.put_away(torch.stack(shown))}


def test_a_method_that_stops_learning_after_the_first_task_fails() -> None:
    with pytest.raises(AssertionError):
        learns(replace(METHODS["sl"], aligner=FirstTaskOnly()))


GROWS, SEEN = "more is kept of more images", "pictures are kept outside of the memory"
HIDDEN = {
    "all, parts of white": (Hoard(lambda shown_NHWC: shown_NHWC.float() / 255), GROWS),
    "six": (Hoard(lambda shown_NHWC: shown_NHWC, 6), GROWS),
    "room for six": (Hoard(lambda shown_NHWC: shown_NHWC, 6, True), SEEN),
    "two, normalised, in half": (Hoard(lambda shown_NHWC: ((shown_NHWC / 255 - 0.5) / 0.25).half(), 2), SEEN),
    "one, grey, in a row": (Hoard(lambda shown_NHWC: shown_NHWC.float().mean(dim=-1).flatten(), 1), SEEN),
    "three, packed": (Hoard(lambda shown_NHWC: shown_NHWC.flatten().view(torch.int64), 3), SEEN),
}
"""What is hidden, and whether it shows by its size or must be looked for: three pictures are the fewest that come."""


@pytest.mark.parametrize("what", HIDDEN)
def test_a_method_that_hides_pictures_fails(what: str) -> None:
    hoard, reason = HIDDEN[what]
    with pytest.raises(AssertionError, match=reason):
        declares_its_memory(replace(METHODS["sl"], regulariser=hoard))


@dataclass(frozen=True)
class PixelMoments:
    """Of the last task's pictures: numbers without a picture in them."""

    def begin(self, kept: Tensors, start: TaskStart) -> Penalty | None:
        return None

    def finish(self, kept: Tensors, end: TaskEnd) -> Tensors:
        shown = np.stack([end.images.pixels(index) for index in range(len(end.images))]).astype(np.float64)
        return {"x": torch.from_numpy(shown.mean(axis=0)), "y": torch.from_numpy(shown.var(axis=0))}


def test_statistics_of_pixels_are_no_pictures() -> None:
    declares_its_memory(replace(METHODS["sl"], regulariser=PixelMoments()))


def test_pictures_in_the_memory_are_declared() -> None:
    declares_its_memory(METHODS["replay_all"])


ON_THE_WAY = (check_method.check_restored, check_method.check_resumed, check_method.check_deterministic)
ALL = (*CHECKS, check_method.check_goes_on)
BROKEN: dict[Callable[[], Method], set[Callable[[Which], None]]] = {
    broken_methods.hoards_in_a_global: {check_method.check_restored, check_method.check_resumed},
    broken_methods.hoards_in_a_global_for_later: {check_method.check_restored},
    broken_methods.keeps_its_state_to_itself: {check_method.check_restored},
    broken_methods.stores_nothing_with_a_checkpoint: {check_method.check_resumed},
    broken_methods.asks_python_for_chance: {check_method.check_deterministic},
    broken_methods.asks_torch_for_chance: {check_method.check_deterministic},
    broken_methods.asks_numpy_for_chance: {check_method.check_deterministic},
}
"""Which checks each fails: what is hoarded for the second task is missing where that task goes on, and after it."""

UNTAUGHT = {
    broken_methods.needs_two_classes_to_begin: check_method.check_begins_with_one_class,
    broken_methods.needs_two_classes_to_begin_among_all: check_method.check_begins_with_one_class,
    broken_methods.has_room_for_four_tasks: check_method.check_goes_on,
}


def failed(which: Which, checks: Iterable[Callable[[Which], None]]) -> set[Callable[[Which], None]]:
    found = set()
    for check in checks:
        try:
            check(which)
        except AssertionError:
            found.add(check)
    return found


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_method_that_cannot_be_gone_on_with_elsewhere_fails(broken: Callable[[], Method]) -> None:
    assert failed(broken, ON_THE_WAY) == BROKEN[broken]


@pytest.mark.parametrize("broken", UNTAUGHT, ids=lambda broken: broken.__name__)
def test_a_method_that_some_lessons_are_too_much_for_fails(broken: Callable[[], Method]) -> None:
    assert failed(broken, ALL) == {UNTAUGHT[broken]}
