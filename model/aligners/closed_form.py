"""Heads that need no training, made of the class statistics alone."""

from dataclasses import dataclass

from model.heads.closed_form import ClosedForm, closed_form_head
from model.heads.head import Head
from model.method import Aligned, AlignmentTask, Classifier, Source
from model.training.stage import Tensors


@dataclass(frozen=True)
class ClosedFormAligner:
    """Linear discriminant, ridge regression or nearest mean, after every task."""

    kind: ClosedForm = "lda"

    @property
    def is_in_head(self) -> bool:
        """The head alone classifies."""
        return True

    @property
    def on_first_task(self) -> bool:
        """Also the first task's head is made of statistics."""
        return True

    @property
    def reads(self) -> frozenset[Source]:
        """Means and covariances alone."""
        return frozenset({"statistics"})

    def align(self, task: AlignmentTask) -> Aligned:
        """The head of that kind over all classes."""
        return Aligned(closed_form_head(self.kind, task.statistics, task.check))

    def classifier(self, head: Head, kept: Tensors) -> Classifier:
        """The head."""
        return head
