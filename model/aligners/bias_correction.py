"""The second stage of BiC as an aligner, so that another aligner can take its place."""

from dataclasses import dataclass

from model.heads.head import Head
from model.memories.bias_correction import Correction
from model.method import Aligned, AlignmentTask, Classifier, Source, slot
from model.training.stage import Tensors


@dataclass(frozen=True)
class BiasCorrectionAligner:
    """Applies α and β that the memory found; nothing is trained."""

    @property
    def is_in_head(self) -> bool:
        """The corrected head is one."""
        return True

    @property
    def on_first_task(self) -> bool:
        """The first task's classes are all equally new."""
        return False

    @property
    def reads(self) -> frozenset[Source]:
        """The head and what the memory found."""
        return frozenset({"head", "memory"})

    def align(self, task: AlignmentTask) -> Aligned:
        """The un-aligned head with α·l + β."""
        return Aligned(Correction.of(slot(task.kept, "memory"), task.unaligned.class_count).applied(task.unaligned))

    def classifier(self, head: Head, kept: Tensors) -> Classifier:
        """The head."""
        return head
