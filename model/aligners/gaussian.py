"""Classifier alignment by Gaussian replay: stage 2 of SLCA as an aligner."""

from dataclasses import dataclass, field
from typing import Literal

from model.heads.alignment import AlignmentPlan, align
from model.heads.closed_form import RowScale, linear_discriminant
from model.heads.head import Head
from model.heads.spread_plan import SpreadPlan
from model.method import Aligned, AlignmentTask, Classifier, Source
from model.statistics.class_statistics import ClassStatistics
from model.statistics.shrinkage import shared_covariance
from model.training.stage import Tensors


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
    def is_in_head(self) -> bool:
        """The head alone classifies, its rows or these with the classes' spread."""
        return True

    @property
    def reads(self) -> frozenset[Source]:
        """The un-aligned head, or its length, and features sampled from the statistics."""
        return frozenset({"head", "statistics"})

    def align(self, task: AlignmentTask) -> Aligned:
        """The starting head, trained on features drawn from the class statistics."""
        if self.spread is None:
            return Aligned(trained(self.starting_head(task), task.statistics, task, self.plan))
        shared_DD = shared_covariance(task.statistics, task.check)
        discriminant = linear_discriminant(task.statistics, task.check, shared_DD)
        head = trained(self.starting_head(task, discriminant), task.statistics, task, self.plan)
        # The spread is that of log densities, which the discriminant's logits are.
        scale = RowScale.of(head).mean_length / RowScale.of(discriminant).mean_length
        spread = self.spread.made(task.statistics, shared_DD, scale, task.check)
        return Aligned(Head(head.weight_CD, head.bias_C, spread) if spread.gain_CR.any() else head)

    def starting_head(self, task: AlignmentTask, discriminant: Head | None = None) -> Head:
        """What stage 2 begins from; a `discriminant` of the task's statistics is made here unless it is there."""
        if self.start == "unaligned":
            return task.unaligned
        if discriminant is None:
            discriminant = linear_discriminant(task.statistics, task.check)
        return RowScale.of(task.unaligned).applied(discriminant)

    def classifier(self, head: Head, kept: Tensors) -> Classifier:
        """The head."""
        return head


def trained(start: Head, statistics: ClassStatistics, task: AlignmentTask, plan: AlignmentPlan) -> Head:
    """Stage 2 of a task: the head after `align` from `start`, on features drawn of these statistics of its classes."""
    return align(
        start,
        statistics,
        task.blocks_C,
        task.block,
        plan,
        seed=task.seed,
        device=task.device,
        check=task.check,
    )
