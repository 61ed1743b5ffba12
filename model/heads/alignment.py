"""Stage 2 of SLCA: the head over all classes, trained on features drawn from every class's Gaussian.

Method: section 3.3 of the paper. Two things differ from its code, neither in what is drawn or minimised: features come
from the statistics' factors, so that no covariance is ever decomposed, and every draw z is used as z and −z, so that
the samples' mean is the class's mean exactly; and the gradient is written out, since the net is one layer.
"""

from dataclasses import dataclass
from math import cos, pi
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import paper
from model.heads.head import Head
from model.heads.sample_scale import SampleScale
from model.statistics.class_statistics import ClassStatistics
from model.statistics.sampling import GaussianSampler
from model.statistics.shrinkage import FEW_IMAGES, FewImages
from model.stopping import Check, unchecked

LARGEST_DRAW_BYTES = 256 * 2**20
"""Features held at once; an epoch of more is drawn in parts, each with equally many features of every class."""

LARGEST_FIRST_STEP = 1.0
"""How far the first steps may move the logits, relative to their norm; the paper's own runs lie near 0.7."""


NormBlocks = Literal["alike", "by_size", "per_class", "as_one"]
"""How blocks share in n̄, which logits are divided by (method.md 8.1), where block t has C_t of all C classes, t = 1…T.

`alike`: the mean of ‖l_t‖ (the paper), so that a block of one class counts as much as one of many. `by_size`:
Σ_t (C_t/C)·‖l_t‖. `per_class`: the mean of ‖l_t‖/√C_t, times √(C/T). `as_one`: ‖l‖/√C, times √(C/T), whatever classes
came together. That factor is one for all images and keeps n̄ about as large as the paper's, and so the meaning of τ:
where blocks are of one size, the first three are the same.
"""


@dataclass(frozen=True)
class AlignmentPlan:
    """The settings of stage 2; the defaults are the paper's, but for two cases which it does not know.

    An epoch draws `samples_per_class`, or so few that no more than `samples_in_all` come of all classes together.
    Classes of few images borrow covariance. And a head whose logits are small beside its features, as after a short
    stage 1, is first scaled up until `largest_first_step` holds: the normalised loss does not see the scale, but its
    gradient grows as the scale shrinks, and the first steps would throw the head away. SLCA++ has
    `sample_scale` in place of `mean_decay`. `norm_blocks` is for tasks of different sizes.
    """

    epochs: int = paper.ALIGNMENT_EPOCHS
    samples_per_class: int = paper.SAMPLES_PER_CLASS
    samples_in_all: int | None = None
    batch: int = paper.ALIGNMENT_BATCH
    lr: float = paper.ALIGNMENT_RATE
    momentum: float = paper.MOMENTUM
    weight_decay: float = paper.WEIGHT_DECAY
    tau: float = paper.TEMPERATURE
    logit_norm: bool = True
    norm_blocks: NormBlocks = "alike"
    mean_decay: bool = True
    sample_scale: SampleScale | None = None
    ridge: float = paper.RIDGE
    largest_first_step: float | None = LARGEST_FIRST_STEP
    few_images: FewImages | None = FEW_IMAGES

    def drawn(self, classes: int) -> int:
        """How many features of each class an epoch draws."""
        if self.samples_in_all is None:
            return self.samples_per_class
        return max(1, min(self.samples_per_class, self.samples_in_all // classes))


def align(
    head: Head,
    statistics: ClassStatistics,
    blocks_C: NDArray[np.int64],
    current_block: int,
    plan: AlignmentPlan,
    *,
    seed: int,
    device: str = "cpu",
    columns_G: NDArray[np.int64] | None = None,
    check: Check = unchecked,
) -> Head:
    """The head after stage 2, from this un-aligned one.

    `blocks_C` names the task of each class by any numbers that grow in order of arrival, `current_block` the task just
    learned. A class may have several Gaussians, each drawn equally often: `columns_G` is then the class of each row of
    `statistics`. The same arguments give the same bytes on CPU. `check` is called while features are drawn and before
    each step, and may raise to stop. Raises ValueError where shapes differ, a class or a Gaussian has no images or
    `current_block` has no class.
    """
    if columns_G is None:
        columns_G = np.arange(len(blocks_C))
    _check(head, statistics, blocks_C, current_block, columns_G)
    order_C = dense_blocks(blocks_C)
    current = int(order_C[blocks_C == current_block][0])
    generator = torch.Generator(device).manual_seed(seed)
    scale_C = decayed_scale(order_C, current) if plan.mean_decay else np.ones(len(order_C))
    sampler = GaussianSampler(statistics, scale_C[columns_G], plan.ridge, plan.few_images, generator, check)
    if plan.logit_norm and plan.largest_first_step is not None:
        head = steadied(head, statistics, order_C, plan, plan.largest_first_step)
    trainer = _HeadTrainer(head, order_C if plan.logit_norm else None, plan, device)
    class_G = torch.from_numpy(columns_G).to(device)
    per_gaussian = max(1, plan.drawn(len(order_C)) * len(order_C) // len(columns_G))
    for epoch in range(plan.epochs):
        trainer.lr = plan.lr * (1 + cos(pi * epoch / plan.epochs)) / 2
        for features_ND, gaussian_N in sampler.epoch(per_gaussian, LARGEST_DRAW_BYTES):
            columns_N = class_G[gaussian_N]
            if plan.sample_scale is not None:
                plan.sample_scale.shrink(features_ND, columns_N, current - order_C, generator)
            order_N = torch.randperm(len(columns_N), generator=generator, device=device)
            for rows_B in torch.split(order_N, plan.batch):
                check()
                trainer.step(features_ND[rows_B], columns_N[rows_B])
    return trainer.head() if plan.sample_scale is None else plan.sample_scale.undone(trainer.head(), current - order_C)


def dense_blocks(blocks_C: NDArray[np.int64]) -> NDArray[np.int64]:
    """t(c): the blocks renumbered 1, 2, … without gaps, in order."""
    return np.unique(blocks_C, return_inverse=True)[1].astype(np.int64) + 1


def decayed_scale(order_C: NDArray[np.int64], current: int) -> NDArray[np.float64]:
    """s_c = 0.9 + 0.1·t(c)/k: what the mean of each class is scaled by; 1 for the current block."""
    return np.asarray(1 - paper.MEAN_DECAY + paper.MEAN_DECAY * order_C / current)


def block_norms(
    logits_NC: NDArray[np.floating], blocks_C: NDArray[np.int64], norm_blocks: NormBlocks = "alike"
) -> NDArray[np.float64]:
    """‖l_t‖ of each row: the length of its logits of each block's classes, N×T, blocks in order.

    For others than `alike` times what makes n̄ their mean over blocks; `as_one` is one block.
    """
    square_NC = logits_NC.astype(np.float64) ** 2
    return np.asarray(np.sqrt(square_NC @ norm_weights(dense_blocks(blocks_C), norm_blocks)))


def norm_weights(order_C: NDArray[np.int64], norm_blocks: NormBlocks) -> NDArray[np.float64]:
    """What the square of each class's logit counts in each block's squared length, C×T (`as_one`: C×1).

    0 outside the block; within it what the block's length is multiplied by, squared.
    """
    member_CT = (order_C[:, None] == np.arange(1, order_C.max() + 1)).astype(np.float64)
    # C_t over the mean size of a block: exactly 1 where all are of one size.
    size_T = member_CT.sum(axis=0) * member_CT.shape[1] / len(order_C)
    weights: dict[NormBlocks, NDArray[np.float64]] = {
        "alike": member_CT,
        "by_size": member_CT * size_T**2,
        "per_class": member_CT / size_T,
        "as_one": np.full((len(order_C), 1), 1 / member_CT.shape[1]),
    }
    return weights[norm_blocks]


def steadied(
    head: Head, statistics: ClassStatistics, order_C: NDArray[np.int64], plan: AlignmentPlan, largest: float
) -> Head:
    """The head times one number ≥ 1, so that lr·‖x‖²/(n̄²·τ) is at most `largest`; decisions stay.

    That ratio is how far a step for one feature x moves its logits relative to their norm n̄; both are taken as means
    over the classes.
    """
    energy_C = (statistics.mean_CD.astype(np.float64) ** 2).sum(axis=1)
    energy_C += [float((factor_RD.astype(np.float64) ** 2).sum()) for factor_RD in statistics.factors]
    norm_CT = block_norms(head.logits(statistics.mean_CD), order_C, plan.norm_blocks)
    norm = max(float(norm_CT.mean()), paper.NORM_FLOOR)
    ratio = plan.lr * float(energy_C.mean()) / (norm**2 * plan.tau)
    factor = np.sqrt(max(1.0, ratio / largest))
    return Head(head.weight_CD * factor, head.bias_C * factor)


class _HeadTrainer:
    """A linear head under SGD with momentum; the loss is cross-entropy on l/(n̄·τ), or on l where nothing is
    normalised.

    n̄ is the mean over blocks of ‖l_t‖ + 1e-7 of each feature, or as `norm_blocks` has it, and the gradient passes
    through it.
    """

    lr = 0.0

    def __init__(self, head: Head, order_C: NDArray[np.int64] | None, plan: AlignmentPlan, device: str) -> None:
        bias_1C = head.bias_C[:, None]
        self._weight_CD = torch.from_numpy(np.concatenate([head.weight_CD, bias_1C], axis=1)).to(device)
        self._velocity_CD = torch.zeros_like(self._weight_CD)
        self._plan = plan
        self._blocks_CT: Tensor | None = None
        if order_C is not None:
            self._blocks_CT = torch.from_numpy(norm_weights(order_C, plan.norm_blocks).astype(np.float32)).to(device)

    def step(self, features_BD: Tensor, columns_B: Tensor) -> None:
        weight_CD, bias_C = self._weight_CD[:, :-1], self._weight_CD[:, -1]
        logits_BC = torch.addmm(bias_C, features_BD, weight_CD.T)
        gradient_BC = self._gradient(logits_BC, columns_B)
        velocity_CD = self._velocity_CD.mul_(self._plan.momentum)
        velocity_CD.add_(self._weight_CD, alpha=self._plan.weight_decay)
        velocity_CD[:, :-1].addmm_(gradient_BC.T, features_BD)
        velocity_CD[:, -1].add_(gradient_BC.sum(dim=0))
        self._weight_CD.add_(velocity_CD, alpha=-self.lr)

    def _gradient(self, logits_BC: Tensor, columns_B: Tensor) -> Tensor:
        """Of the mean loss, with respect to the logits."""
        if self._blocks_CT is None:
            return _softmax_minus_target(logits_BC, columns_B)
        norm_BT = (logits_BC.square() @ self._blocks_CT).sqrt_()
        mean_norm_B1 = norm_BT.mean(dim=1, keepdim=True) + paper.NORM_FLOOR
        temperature_B1 = mean_norm_B1 * self._plan.tau
        inner_BC = _softmax_minus_target(logits_BC / temperature_B1, columns_B) / temperature_B1
        through_norm_B1 = (inner_BC * logits_BC).sum(dim=1, keepdim=True) / (mean_norm_B1 * norm_BT.shape[1])
        inverse_BC = norm_BT.clamp_min_(paper.NORM_FLOOR).reciprocal_() @ self._blocks_CT.T
        return inner_BC - through_norm_B1 * inverse_BC * logits_BC

    def head(self) -> Head:
        weight_CD = self._weight_CD.cpu().numpy()
        return Head(np.ascontiguousarray(weight_CD[:, :-1]), np.ascontiguousarray(weight_CD[:, -1]))


def _softmax_minus_target(logits_BC: Tensor, columns_B: Tensor) -> Tensor:
    gradient_BC = logits_BC.softmax(dim=1)
    gradient_BC[torch.arange(len(columns_B), device=columns_B.device), columns_B] -= 1
    return gradient_BC.div_(len(columns_B))


def _check(
    head: Head,
    statistics: ClassStatistics,
    blocks_C: NDArray[np.int64],
    current_block: int,
    columns_G: NDArray[np.int64],
) -> None:
    if head.weight_CD.shape != (len(blocks_C), statistics.dimension) or len(columns_G) != statistics.class_count:
        raise ValueError(f"head {head.weight_CD.shape}, means {statistics.mean_CD.shape}, {len(blocks_C)} blocks")
    if not np.array_equal(np.unique(columns_G), np.arange(len(blocks_C))):
        raise ValueError("a class has no Gaussian, or a Gaussian no class")
    if not statistics.count_C.all():
        raise ValueError("a class has no images")
    if current_block not in blocks_C:
        raise ValueError(f"no class belongs to block {current_block}")
