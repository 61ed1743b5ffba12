"""Classifier alignment by Gaussian replay: stage 2 of SLCA as an aligner."""

from dataclasses import dataclass, field
from typing import Literal

from model.heads.alignment import AlignmentPlan, align
from model.heads.closed_form import RowScale, linear_discriminant
from model.heads.head import Head
from model.method import Aligned, AlignmentTask, Classifier, Source
from model.training.stage import Tensors


@dataclass(frozen=True)
class GaussianAligner:
    """`align` with a plan of its own; the paper leaves the first task's head as stage 1 made it.

    `start` is the head that stage 2 begins from: the un-aligned one (the paper), or the linear discriminant of the same
    statistics, its rows brought to the length of the un-aligned ones.
    """

    plan: AlignmentPlan = field(default_factory=AlignmentPlan)
    on_first_task: bool = False
    start: Literal["unaligned", "discriminant"] = "unaligned"

    @property
    def is_linear(self) -> bool:
        """The head alone classifies."""
        return True

    @property
    def reads(self) -> frozenset[Source]:
        """The un-aligned head, or its length, and features sampled from the statistics."""
        return frozenset({"head", "statistics"})

    def align(self, task: AlignmentTask) -> Aligned:
        """The starting head, trained on features drawn from the class statistics."""
        head = align(
            self.starting_head(task),
            task.statistics,
            task.blocks_C,
            task.block,
            self.plan,
            seed=task.seed,
            device=task.device,
            check=task.check,
        )
        return Aligned(head)

    def starting_head(self, task: AlignmentTask) -> Head:
        """What stage 2 begins from."""
        if self.start == "unaligned":
            return task.unaligned
        return RowScale.of(task.unaligned).applied(linear_discriminant(task.statistics, task.check))

    def classifier(self, head: Head, kept: Tensors) -> Classifier:
        """The head."""
        return head
