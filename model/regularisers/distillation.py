"""Learning without forgetting: the network of before teaches the present one what it says of the old classes."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.backbones.backbone import PixelBackbone
from model.heads.head import Head
from model.method import TaskEnd, TaskStart
from model.training.stage import Penalty, Step, Tensors


class Teacher:
    """A copy of a network and a head that stands still while the original learns on."""

    def __init__(self, network: PixelBackbone, head: Head) -> None:
        self._network = copy.deepcopy(network).requires_grad_(False).eval()
        self._weight_CD = torch.tensor(head.weight_CD, device=network.device)
        self._bias_C = torch.tensor(head.bias_C, device=network.device)

    @property
    def class_count(self) -> int:
        """How many classes it knows: the first of those that the learner knows."""
        return len(self._bias_C)

    def logits(self, pixels_BHWC: Tensor) -> Tensor:
        """`logits_BC` over the classes that it knows, in float32."""
        with torch.no_grad():
            return nn.functional.linear(self._network(pixels_BHWC), self._weight_CD, self._bias_C).float()


def distillation(logits_BC: Tensor, taught_BC: Tensor, temperature: float) -> Tensor:
    """−Σ_k softmax(taught/T)_k · log softmax(logits/T)_k, the mean over the images; no factor T² (method.md 4)."""
    log_probability_BC = (logits_BC.float() / temperature).log_softmax(dim=1)
    return -((taught_BC / temperature).softmax(dim=1) * log_probability_BC).sum(dim=1).mean()


@dataclass(eq=False)
class DistillationPenalty:
    """`weight` times the distillation of the classes that the teacher knows."""

    teacher: Teacher
    weight: float
    temperature: float
    loss_weight: float = 1.0

    def __call__(self, step: Step) -> Tensor:
        """A scalar; nothing that the rest of the run depends on is kept."""
        old_BC = step.logits_BC[:, : self.teacher.class_count]
        return self.weight * distillation(old_BC, self.teacher.logits(step.pixels_BHWC), self.temperature)

    def state(self) -> dict[str, Tensor]:
        """Nothing: the teacher is the base."""
        return {}

    def take(self, state: Tensors) -> None:
        """Nothing to take."""


@dataclass(frozen=True)
class Distillation:
    """LwF: cross-entropy on the task's classes + `weight`·KD of the old ones (method.md 4; λ = 3, T = 2).

    Made for methods of scope `rows`. Keeps nothing: the base version is the teacher.
    """

    weight: float = 3.0
    temperature: float = 2.0

    def begin(self, kept: Tensors, start: TaskStart) -> Penalty | None:
        """Distillation from the base, once it knows two classes: of one there is nothing to tell."""
        if start.base.unaligned.class_count < 2:
            return None
        return DistillationPenalty(Teacher(start.network, start.base.unaligned), self.weight, self.temperature)

    def finish(self, kept: Tensors, end: TaskEnd) -> Tensors:
        """Nothing."""
        return {}
