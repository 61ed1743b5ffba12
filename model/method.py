"""What a method of continual learning is made of, and what each part is told and must answer.

Each part may keep tensors from one task to the next. They stand in the snapshot under the part's slot, and are all
that the method remembers beside weights, heads and class statistics.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.backbones.backbone import PixelBackbone
from model.backbones.seen import Views
from model.block import Block
from model.heads.head import Head
from model.snapshot import Snapshot
from model.statistics.class_statistics import ClassStatistics
from model.statistics.drift import DriftMap
from model.stopping import Check, unchecked
from model.training.stage import CrossEntropy, Group, LabelledImages, Objective, Optimisation, Penalty, Tensors
from model.training.tuning import TuningPlan

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Slot = Literal["tuner", "regulariser", "memory", "aligner", "averaging"]
Source = Literal["head", "statistics", "features", "memory"]


@dataclass(frozen=True, eq=False)
class Apart:
    """A network's weights: those of the plain backbone by name, and what the tuner keeps beside them.

    `averaged` is what the averaging of a task keeps for the next one.
    """

    plain: Mapping[str, Tensor]
    kept: Tensors = field(default_factory=dict)
    averaged: Tensors = field(default_factory=dict)


class Tuner(Protocol):
    """How the backbone moves in stage 1."""

    @property
    def folds(self) -> bool:
        """Whether the plain backbone alone gives the tuned features, so that a server can serve them."""

    def moves(self, task: int) -> bool:
        """Whether stage 1 of task number `task` changes anything beside the head.

        Here and below tasks count as `Snapshot.next_tuning` does.
        """

    def equip(self, backbone: PixelBackbone, kept: Tensors) -> None:
        """Puts modules with the `kept` weights into a network that holds the plain weights.

        The network then computes the base version's features. Nothing kept: the pre-trained network.
        """

    def begin(self, backbone: PixelBackbone, task: int, seed: int) -> None:
        """Adds what task number `task` (1, 2, …) needs, and marks what shall move as requiring gradients."""

    def groups(self, backbone: PixelBackbone, task: int) -> list[Group]:
        """What moves, by rate; together all that requires gradients."""

    def penalty(self, backbone: PixelBackbone) -> Penalty | None:
        """What is added to the loss beside the objective."""

    def taken_apart(self, backbone: PixelBackbone) -> Apart:
        """The weights of an equipped network, folded into the plain ones where the algebra allows."""


@dataclass(frozen=True, eq=False)
class TaskStart:
    """Before stage 1: `network` is equipped and computes the base's features, `head` is the head to be trained.

    Its rows are the block's (`scope` block) or those of all classes (`scope` rows, seen). `told_apart_B` are the
    positions in it that the objective tells apart; None: all.
    """

    network: PixelBackbone
    head: Head
    base: Snapshot
    block: Block
    images: LabelledImages
    plan: TuningPlan
    told_apart_B: Ints | None = None


@dataclass(frozen=True, eq=False)
class TaskEnd:
    """After stage 1: `network` computes the new features, `head` is the trained head, `start` what it began from.

    Where nothing was `tuned` they are the base's features, and the rows that their statistics made.
    """

    network: PixelBackbone
    head: Head
    images: LabelledImages
    start: TaskStart
    tuned: bool = True


class Regulariser(Protocol):
    """What holds the weights or the answers of earlier tasks."""

    def begin(self, kept: Tensors, start: TaskStart) -> Penalty | None:
        """What is added to the loss of this task."""

    def finish(self, kept: Tensors, end: TaskEnd) -> Tensors:
        """What is kept for the next task, in place of `kept`."""


class Memory(Protocol):
    """Images that are kept; a server refuses such a method unless it is allowed to keep them."""

    def lesson(self, kept: Tensors, start: TaskStart) -> LabelledImages:
        """What stage 1 trains on: the task's images, unless the memory mixes in or replaces them."""

    def begin(self, kept: Tensors, start: TaskStart) -> Penalty | None:
        """What is added to the loss of this task."""

    def finish(self, kept: Tensors, end: TaskEnd) -> Tensors:
        """What is kept for the next task, in place of `kept`; `end.images` are the task's own."""

    def without(self, kept: Tensors, column: int) -> Tensors:
        """What is kept where the class of this column is forgotten: nothing of it; columns behind it move up."""


@dataclass(frozen=True, eq=False)
class AlignmentTask:
    """What a head over all classes is made from.

    `unaligned` is the head that stage 1 left, `blocks_C` the last task of each class, `block` the present one,
    `features_ND` and `columns_N` the block's training images in the space of `statistics`, and behind that whatever
    else the tuner's network puts out; `kept` all slots of the snapshot (`SLOT/NAME`). An aligner whose work is long
    calls `check` between its steps, which may raise to stop.
    """

    unaligned: Head
    statistics: ClassStatistics
    blocks_C: Ints
    block: int
    features_ND: Floats
    columns_N: Ints
    kept: Tensors
    seed: int
    device: str = "cpu"
    check: Check = unchecked

    @property
    def is_first(self) -> bool:
        """Whether nothing was learned before; blocks count from 1."""
        return self.block == 1


@dataclass(frozen=True, eq=False)
class Aligned:
    """The head that serves, and what the aligner keeps."""

    head: Head
    kept: Tensors = field(default_factory=dict)


class Classifier(Protocol):
    """Scores from features."""

    def logits(self, features_ND: Floats) -> Floats:
        """`logits_NC` over all classes by column."""


class Aligner(Protocol):
    """Makes the head over all classes after stage 1."""

    @property
    def is_in_head(self) -> bool:
        """Whether the head alone classifies, so that a server can serve it."""

    @property
    def on_first_task(self) -> bool:
        """Whether it has anything to do after the first task."""

    @property
    def reads(self) -> frozenset[Source]:
        """What its answers are made of: the un-aligned head, class statistics, the task's features, a memory's slot."""

    def align(self, task: AlignmentTask) -> Aligned:
        """The head over all classes. The same arguments give the same bytes on CPU."""

    def classifier(self, head: Head, kept: Tensors) -> Classifier:
        """What answers: the head, unless the aligner's kept tensors say more."""


class Drift(Protocol):
    """How what is remembered of old classes follows the backbone."""

    def fit(self, features_old_ND: Floats, features_new_ND: Floats, columns_N: Ints) -> DriftMap:
        """From the same images' features before and after, and the class column of each."""


@dataclass(frozen=True, eq=False)
class Averaged:
    """Weights by name, and what the averaging keeps for the next task."""

    weights: Tensors
    kept: Tensors = field(default_factory=dict)


class Averaging(Protocol):
    """What the next task begins from and the version serves, in place of the tuned weights."""

    def settle(self, kept: Tensors, before: Tensors, end: TaskEnd) -> Averaged:
        """From the weights `before` the task and those that `end.network` holds, in evaluation mode."""


@dataclass(frozen=True)
class Method:
    """A composition. `aligner` None leaves the head as stage 1 made it; `drift` None leaves statistics as stored.

    `scope` says whose rows stage 1 trains and which classes its objective tells apart: `block`, the task's alone;
    `rows`, all rows train but the objective sees the task's; `seen`, all classes seen. `restarts` begins each task from
    the pre-trained weights. `joint` learns all tasks as one. `views` are shown to the backbone beside each image's
    evaluation view: what for, `model/backbones/seen.py` says. `later_pace` is what the backbone's rates are multiplied
    by after the first task.
    """

    tuner: Tuner
    aligner: Aligner | None = None
    drift: Drift | None = None
    averaging: Averaging | None = None
    regulariser: Regulariser | None = None
    memory: Memory | None = None
    objective: Objective = field(default_factory=CrossEntropy)
    optimisation: Optimisation = field(default_factory=Optimisation)
    scope: Literal["block", "rows", "seen"] = "block"
    restarts: bool = False
    joint: bool = False
    views: Views = frozenset()
    later_pace: float = 1.0

    @property
    def reads_statistics(self) -> bool:
        """Whether its answers come from class statistics."""
        return self.aligner is not None and "statistics" in self.aligner.reads

    def learns(self, task: int) -> bool:
        """Whether anything that stage 1 of task number `task` changes is read: weights, or the head that it trains.

        Tasks count as `Snapshot.next_tuning` does.
        """
        reads_head = self.aligner is None or "head" in self.aligner.reads
        return self.tuner.moves(task) or reads_head or self.memory is not None or self.regulariser is not None

    def pace(self, task: int) -> float:
        """What the backbone's rates are multiplied by in task number `task`, counted in the same way."""
        return 1.0 if task == 1 else self.later_pace

    def refusals(self, *, allow_images: bool = False) -> list[str]:
        """Why a server cannot offer this method; nothing where it can."""
        reasons = {
            "its backbone does not fold into the plain one": not self.tuner.folds,
            "its classifier is more than its head": self.aligner is not None and not self.aligner.is_in_head,
            "it keeps images of earlier tasks": self.memory is not None and not allow_images,
            "it needs all tasks at once": self.joint,
            "it begins each task from the pre-trained weights": self.restarts,
        }
        return [reason for reason, holds in reasons.items() if holds]


def slot(kept: Tensors, name: Slot) -> Tensors:
    """The tensors of one slot, under their own names."""
    return {key.removeprefix(f"{name}/"): tensor for key, tensor in kept.items() if key.startswith(f"{name}/")}


def filed(name: Slot, tensors: Tensors) -> dict[str, Tensor]:
    """Tensors under their slot's prefix, on the CPU and apart from what they were made of."""
    return {f"{name}/{key}": tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
