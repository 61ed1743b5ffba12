"""Classifier alignment by Gaussian replay: stage 2 of SLCA as an aligner."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.heads.alignment import AlignmentPlan, align
from model.heads.closed_form import RowScale, linear_discriminant
from model.heads.head import Head
from model.heads.spread import SpreadPlan
from model.method import Aligned, AlignmentTask, Classifier, Source
from model.statistics.shrinkage import shared_covariance
from model.training.stage import Tensors

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class GaussianAligner:
    """`align` with a plan of its own; the paper leaves the first task's head as stage 1 made it.

    `start` is the head that stage 2 begins from: the un-aligned one (the paper), or the linear discriminant of the same
    statistics, its rows brought to the length of the un-aligned ones. With `spread` the classes' own spread is heard
    beside the trained rows.
    """

    plan: AlignmentPlan = field(default_factory=AlignmentPlan)
    on_first_task: bool = False
    start: Literal["unaligned", "discriminant"] = "unaligned"
    spread: SpreadPlan | None = None

    @property
    def is_linear(self) -> bool:
        """The head alone classifies, its rows or these with the classes' spread."""
        return True

    @property
    def reads(self) -> frozenset[Source]:
        """The un-aligned head, or its length, and features sampled from the statistics."""
        return frozenset({"head", "statistics"})

    def align(self, task: AlignmentTask) -> Aligned:
        """The starting head, trained on features drawn from the class statistics."""
        plan = self.spread
        shared_DD = None if plan is None else shared_covariance(task.statistics, task.check)
        head = align(
            self.starting_head(task, shared_DD),
            task.statistics,
            task.blocks_C,
            task.block,
            self.plan,
            seed=task.seed,
            device=task.device,
            check=task.check,
        )
        if plan is None or shared_DD is None:
            return Aligned(head)
        return Aligned(_with_spread(head, plan, task, shared_DD))

    def starting_head(self, task: AlignmentTask, shared_DD: Doubles | None = None) -> Head:
        """What stage 2 begins from; `shared_DD` is the covariance that classes share, by default made here."""
        if self.start == "unaligned":
            return task.unaligned
        return RowScale.of(task.unaligned).applied(linear_discriminant(task.statistics, task.check, shared_DD))

    def classifier(self, head: Head, kept: Tensors) -> Classifier:
        """The head."""
        return head


def _with_spread(head: Head, plan: SpreadPlan, task: AlignmentTask, shared_DD: Doubles) -> Head:
    """The head with the classes' spread on its own scale, which the discriminant's rows tell."""
    discriminant = linear_discriminant(task.statistics, task.check, shared_DD)
    scale = RowScale.of(head).mean_length / RowScale.of(discriminant).mean_length
    spread = plan.made(task.statistics, shared_DD, scale, task.check)
    return Head(head.weight_CD, head.bias_C, spread) if spread.gain_CR.any() else head
