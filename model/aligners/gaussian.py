"""Classifier alignment by Gaussian replay: stage 2 of SLCA as an aligner."""

from dataclasses import dataclass, field

from model.alignment import AlignmentPlan, align
from model.head import Head
from model.method import Aligned, AlignmentTask, Classifier
from model.stage import Tensors


@dataclass(frozen=True)
class GaussianAligner:
    """`align` with a plan of its own; the paper leaves the first task's head as stage 1 made it."""

    plan: AlignmentPlan = field(default_factory=AlignmentPlan)
    on_first_task: bool = False

    @property
    def is_linear(self) -> bool:
        """The head alone classifies."""
        return True

    def align(self, task: AlignmentTask) -> Aligned:
        """The un-aligned head, trained on features drawn from the class statistics."""
        head = align(
            task.unaligned,
            task.statistics,
            task.blocks_C,
            task.block,
            self.plan,
            seed=task.seed,
            device=task.device,
        )
        return Aligned(head)

    def classifier(self, head: Head, kept: Tensors) -> Classifier:
        """The head."""
        return head
