"""Elastic weight consolidation: weights that earlier tasks depend on are held where they were."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.augmentation import training_view
from model.backbone import autocast
from model.method import TaskEnd, TaskStart
from model.stage import Penalty, Step, Tensors

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

    F ← (C_old/C)·F + (C_new/C)·F_new after each task. With `online_decay` γ the online form: λ·Σ F·(θ − θ*)² and
    F ← γ·F + F_new. θ* are the base's weights, so that F is all that is kept: as many numbers as the backbone has.
    Rows of the head are not held: those of old classes stand still in stage 1 anyway (scope `block`).
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
        new = self._measured(end)
        old_classes, classes = end.start.base.unaligned.class_count, end.start.block.class_count
        share = old_classes / classes
        before, now = (share, 1 - share) if self.online_decay is None else (self.online_decay, 1.0)
        return {name: now * new[name] + (before * kept[name] if name in kept else 0) for name in new}

    def _measured(self, end: TaskEnd) -> dict[str, Tensor]:
        parameters = {name: p for name, p in end.network.named_parameters() if p.requires_grad}
        squares = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
        batches = list(_batches(end))
        for batch_B in batches:
            for name, gradient in _gradients(end, batch_B, parameters).items():
                squares[name] += gradient.square()
        return {name: (square / len(batches)).clamp(max=self.ceiling).cpu() for name, square in squares.items()}


def _batches(end: TaskEnd) -> Iterator[NDArray[np.int64]]:
    """One more epoch's batches, after those of the plan."""
    plan = end.start.plan
    order_N = np.random.default_rng([plan.seed, plan.epochs]).permutation(len(end.images))
    for start in range(0, len(order_N), plan.batch_size):
        yield order_N[start : start + plan.batch_size]


def _gradients(end: TaskEnd, batch_B: NDArray[np.int64], parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Of the mean cross-entropy of one batch over the trained head, micro-batch by micro-batch."""
    plan, network = end.start.plan, end.network
    weight_CD = torch.tensor(end.head.weight_CD, device=network.device)
    bias_C = torch.tensor(end.head.bias_C, device=network.device)
    total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for start in range(0, len(batch_B), plan.micro_batch):
        part_B = batch_B[start : start + plan.micro_batch]
        pixels_BHWC = torch.from_numpy(np.stack([_view(end, int(index)) for index in part_B])).to(network.device)
        columns_B = torch.from_numpy(end.images.columns_N[part_B]).to(network.device)
        with autocast(network.device, plan.precision):
            logits_BC = nn.functional.linear(network(pixels_BHWC), weight_CD, bias_C)
        loss = nn.functional.cross_entropy(logits_BC.float(), columns_B, reduction="sum") / len(batch_B)
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, found, strict=True):
            total[name] += 0 if gradient is None else gradient
    return total


def _view(end: TaskEnd, index: int) -> NDArray[np.uint8]:
    plan = end.start.plan
    rng = np.random.default_rng([plan.seed, plan.epochs, index])
    return training_view(end.images.pixels(index), end.network.spec, rng, plan.augmentation)
