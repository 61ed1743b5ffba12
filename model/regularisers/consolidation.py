"""Elastic weight consolidation: weights that earlier tasks depend on are held where they were."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.method import TaskEnd, TaskStart
from model.training.fisher import squared_gradients
from model.training.stage import Penalty, Step, Tensors

Importance = Mapping[str, Tensor]


@dataclass(eq=False)
class ElasticPenalty:
    """`factor`·Σ F·(θ − θ*)² over the backbone's weights by name."""

    factor: float
    importance: Importance
    anchor: Tensors
    loss_weight: float = 1.0

    def __call__(self, step: Step) -> Tensor:
        """A scalar; nothing that the rest of the run depends on is kept."""
        total = torch.zeros((), device=step.backbone.device)
        for name, parameter in step.backbone.named_parameters():
            if parameter.requires_grad and name in self.importance:
                total = total + (self.importance[name] * (parameter - self.anchor[name]).square()).sum()
        return self.factor * total

    def state(self) -> dict[str, Tensor]:
        """Nothing: importance and anchor are the base's."""
        return {}

    def take(self, state: Tensors) -> None:
        """Nothing to take."""


@dataclass(frozen=True)
class Consolidation:
    """EWC (method.md 4): ½λ·Σ F·(θ − θ*)², F the mean of the squared gradients of whole batches, clipped at `ceiling`.

    F ← (C_old/C)·F + (C_new/C)·F_new after each task, C = C_old + C_new: classes of the task that come again count as
    new ones, since its weights depend on them once more; the first F is whole. With `online_decay` γ the online form:
    λ·Σ F·(θ − θ*)² and F ← γ·F + F_new. θ* are the base's weights, so that F is all that is kept: as many numbers as
    the backbone has. Rows of the head are not held: those of old classes stand still in stage 1 anyway (scope `block`).
    """

    strength: float = 1_000.0
    ceiling: float = 1e-4
    online_decay: float | None = None

    def begin(self, kept: Tensors, start: TaskStart) -> Penalty | None:
        """The pull towards the base's weights, once there is an earlier task."""
        if not kept:
            return None
        device = start.network.device
        anchor = {name: parameter.detach().clone() for name, parameter in start.network.named_parameters()}
        importance = {name: tensor.to(device) for name, tensor in kept.items()}
        factor = self.strength if self.online_decay is not None else self.strength / 2
        return ElasticPenalty(factor, importance, anchor)

    def finish(self, kept: Tensors, end: TaskEnd) -> Tensors:
        """The importance after this task; as before where the task had no loss (one class alone)."""
        if not end.start.block.needs_tuning:
            return kept
        new = squared_gradients(end, self.ceiling)
        old_classes, new_classes = end.start.base.unaligned.class_count, len(end.start.block.columns_B)
        share = old_classes / (old_classes + new_classes)
        before, now = (share, 1 - share) if self.online_decay is None else (self.online_decay, 1.0)
        return {name: before * kept[name] + now * new[name] if name in kept else new[name] for name in new}
