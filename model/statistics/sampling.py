"""Features drawn from class Gaussians, without decomposing any covariance.

With Σ = AᵀA, x = s·μ + z·A + √ε·z' has mean s·μ and covariance Σ + εI exactly, for z ~ N(0, I_R) and z' ~ N(0, I_D).
ε is a small ridge and, where statistics were carried into another feature space, the variance of what that left wrong.
"""

import contextlib
from collections.abc import Iterator
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.statistics.class_statistics import ClassStatistics
from model.statistics.shrinkage import FewImages
from model.stopping import Check, unchecked

POOLED_DRAWS = 2048
"""Deviations of the pooled covariance that are drawn at once, and of which every class takes its own choice.

Drawn for each class they would cost a D×D product each; what classes have in common of them is all but lost beside the
rest of each sample.
"""


class GaussianSampler:
    """Draws the same number of features of every class, in pairs that mirror each other at the class's mean.

    `scale_C` multiplies the means, `ridge` is the least ε; with `few_images` small classes borrow the pooled
    covariance. All work is on the generator's device. `check` is called for each class and may raise to stop.
    """

    def __init__(
        self,
        statistics: ClassStatistics,
        scale_C: NDArray[np.float64],
        ridge: float,
        few_images: FewImages | None,
        generator: torch.Generator,
        check: Check = unchecked,
    ) -> None:
        self._generator, self._check = generator, check
        self._outer_C11 = self._here(np.sqrt(ridge + statistics.drift_variance_C)[:, None, None])
        self._mean_CD = self._here(statistics.mean_CD * scale_C[:, None])
        own_C, self._borrowed_C = _parts(statistics, few_images)
        self._factors = [self._here(factor_RD * own) for factor_RD, own in zip(statistics.factors, own_C, strict=True)]
        self._pool_DD = self._here(_root(statistics.pooled_covariance(check))) if self._borrowed_C.any() else None

    def epoch(self, per_class: int, most_bytes: int) -> Iterator[tuple[Tensor, Tensor]]:
        """`per_class` features of each class, with their columns, in parts of about `most_bytes`; not shuffled."""
        parts = max(1, ceil(per_class * self._mean_CD.numel() * 4 / most_bytes))
        drawn = 0
        for part in range(1, parts + 1):
            count, drawn = per_class * part // parts - drawn, per_class * part // parts
            if count:
                yield self.draw(count)

    def draw(self, per_class: int) -> tuple[Tensor, Tensor]:
        """`per_class` features of each class (C·n × D), class by class, and their columns."""
        classes, dimension = self._mean_CD.shape
        half = (per_class + 1) // 2
        deviation_CSD = self._normal(classes, half, dimension).mul_(self._outer_C11)
        for column, factor_RD in enumerate(self._factors):
            self._check()
            deviation_CSD[column].addmm_(self._normal(half, len(factor_RD)), factor_RD)
        self._borrow(deviation_CSD)
        mean_C1D = self._mean_CD[:, None]
        features_CSD = torch.cat([mean_C1D + deviation_CSD, mean_C1D - deviation_CSD[:, : per_class - half]], dim=1)
        columns_C = torch.arange(classes, device=self._generator.device)
        return features_CSD.reshape(-1, dimension), columns_C.repeat_interleave(per_class)

    def _borrow(self, deviation_CSD: Tensor) -> None:
        """Add its part of the pooled deviations to each class that borrows."""
        if self._pool_DD is None:
            return
        half = deviation_CSD.shape[1]
        pooled_PD = self._normal(max(half, POOLED_DRAWS), len(self._pool_DD)) @ self._pool_DD
        for column in np.flatnonzero(self._borrowed_C):
            self._check()
            chosen_S = torch.randperm(len(pooled_PD), generator=self._generator, device=pooled_PD.device)[:half]
            deviation_CSD[column].add_(pooled_PD[chosen_S], alpha=float(self._borrowed_C[column]))

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator, device=self._generator.device)

    def _here(self, array: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(array.astype(np.float32)).to(self._generator.device)


def _parts(
    statistics: ClassStatistics, few_images: FewImages | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each class's own factor, and the pool's, are multiplied by."""
    if few_images is None:
        return np.ones(statistics.class_count), np.zeros(statistics.class_count)
    alpha_C, widening_C = (
        few_images.borrowed_C(statistics.count_C, statistics.dimension),
        few_images.widening_C(statistics.count_C),
    )
    return widening_C * np.sqrt(1 - alpha_C), widening_C * np.sqrt(alpha_C)


def _root(covariance_DD: NDArray[np.float64]) -> NDArray[np.float64]:
    """A with AᵀA = the covariance, which may be singular."""
    with contextlib.suppress(np.linalg.LinAlgError):
        return np.asarray(np.linalg.cholesky(covariance_DD).T)
    variance_D, vectors_DD = np.linalg.eigh(covariance_DD)
    return np.asarray((vectors_DD * np.sqrt(np.maximum(variance_D, 0))).T)
