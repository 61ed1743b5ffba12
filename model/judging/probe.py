"""How good a representation is, whatever head was learned on it: a linear classifier trained on all data at once.

The seed's evaluation of what a backbone holds: features of every class's training images through one network that
stands still, of the last task or the pre-trained one, and one head over all classes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import paper
from model.heads.head import Head

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ProbePlan:
    """SGD at one rate throughout (method.md 4: `joint_linear`, 30 epochs at 0.01, batches of 128)."""

    epochs: int = 30
    lr: float = 0.01
    batch: int = 128
    momentum: float = paper.MOMENTUM
    weight_decay: float = paper.WEIGHT_DECAY


PROBE = ProbePlan()
"""The plan that is used unless another is asked for."""


def linear_probe(
    features_ND: Floats, columns_N: Ints, class_count: int, *, seed: int, plan: ProbePlan = PROBE, device: str = "cpu"
) -> Head:
    """The head over `class_count` classes, trained by cross-entropy from zeros; rows are shuffled by `seed` alone.

    The same arguments give the same bytes on CPU. Raises ValueError without features, or where numbers differ.
    """
    if not len(features_ND) or len(features_ND) != len(columns_N):
        raise ValueError(f"{len(features_ND)} features and {len(columns_N)} columns make no probe")
    with_one_NE = np.concatenate([features_ND, np.ones((len(features_ND), 1))], axis=1).astype(np.float32)
    rows_NE, target_N = torch.from_numpy(with_one_NE).to(device), torch.from_numpy(columns_N).to(device)
    weight_CE = torch.zeros(class_count, with_one_NE.shape[1], device=device)
    velocity_CE = torch.zeros_like(weight_CE)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(plan.epochs):
        for chosen_B in torch.split(torch.randperm(len(target_N), generator=generator).to(device), plan.batch):
            gradient_CE = _gradient(weight_CE, rows_NE[chosen_B], target_N[chosen_B])
            velocity_CE.mul_(plan.momentum).add_(gradient_CE).add_(weight_CE, alpha=plan.weight_decay)
            weight_CE.add_(velocity_CE, alpha=-plan.lr)
    trained_CE = weight_CE.cpu().numpy()
    return Head(trained_CE[:, :-1], trained_CE[:, -1])


def _gradient(weight_CE: Tensor, rows_BE: Tensor, target_B: Tensor) -> Tensor:
    """Of the mean cross-entropy."""
    slope_BC = (rows_BE @ weight_CE.T).softmax(dim=1)
    slope_BC[torch.arange(len(target_B), device=target_B.device), target_B] -= 1
    return slope_BC.T @ rows_BE / len(target_B)
