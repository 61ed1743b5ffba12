"""What each class's own spread says beside a linear head: a quadratic term in few directions.

A linear head takes all classes to be spread alike. The quadratic discriminant takes each as it is,

    −½·(f − μ_c)ᵀ·Σ_c⁻¹·(f − μ_c) − ½·log|Σ_c|,

but of some dozens of images in some hundred directions Σ_c is mostly chance, and most of what it says of the means a
trained linear head says better. What is left is the difference to the pooled covariance: with features brought to where
that is the identity, and Σ_c drawn towards it by α = κ/(κ + n_c − 1) (regularised discriminant analysis, Friedman
1989), a direction v in which the class has the variance s² adds

    −½·(1/σ² − 1)·(vᵀ(f − μ_c))² − ½·log σ²,    σ² = α + (1 − α)·s²,

nothing where the class is as wide as all. The directions of greatest variance are kept, and a part of the term counts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from model.heads.spread import Spread
from model.statistics.class_statistics import ClassStatistics
from model.stopping import Check, unchecked

Floats = NDArray[np.float32]

FEW_ROWS = 256
SPARE, ITERATIONS = 8, 3
"""Of orthogonal iteration, which finds directions of factors of more than `FEW_ROWS` rows: what it looks at beside
those that are asked for, and how often.
"""


@dataclass(frozen=True)
class SpreadPlan:
    """How much of the classes' own spread is heard: κ = `of_dimension`·D, `part` of the term, and in how many
    directions of a class: `directions`, or so few that all classes together have no more than `directions_in_all`.

    Chosen on validation images: decision 0026.
    """

    of_dimension: float = 0.5
    part: float = 0.4
    directions: int = 16
    directions_in_all: int = 8_192

    def made(
        self, statistics: ClassStatistics, shared_DD: NDArray[np.float64], scale: float, check: Check = unchecked
    ) -> Spread:
        """The term times `scale`; `shared_DD` is what classes have in common (`shared_covariance`).

        The scale is how long the rows of the head beside it are for those of the discriminant, whose logits are
        densities. `check` is called for each class and may raise to stop.
        """
        dimension, classes = statistics.dimension, statistics.class_count
        white_DD = np.linalg.inv(np.linalg.cholesky(shared_DD)).T.astype(np.float32)
        kappa, part = self.of_dimension * dimension, 0.5 * scale * self.part
        shape = (classes, self._kept(statistics))
        direction_CRD = np.zeros((*shape, dimension), np.float32)
        offset_CR, gain_CR, constant_C = (np.zeros(size, np.float32) for size in (shape, shape, classes))
        for column, factor_RD in enumerate(statistics.factors):
            check()
            own_R, inner_RD = leading_directions(factor_RD, white_DD, shape[1])
            alpha = kappa / (kappa + max(int(statistics.count_C[column]) - 1, 0))
            variance_R, direction_RD = alpha + (1 - alpha) * own_R, inner_RD @ white_DD.T
            direction_CRD[column, : len(own_R)] = direction_RD
            offset_CR[column, : len(own_R)] = direction_RD @ statistics.mean_CD[column].astype(np.float64)
            gain_CR[column, : len(own_R)] = part * (1 - 1 / variance_R)
            constant_C[column] = -part * np.log(variance_R).sum()
        return Spread(direction_CRD, offset_CR, gain_CR, constant_C)

    def _kept(self, statistics: ClassStatistics) -> int:
        """Directions of each class."""
        most = max(1, min(self.directions, self.directions_in_all // max(1, statistics.class_count)))
        return min(most, max((len(factor_RD) for factor_RD in statistics.factors), default=0))


def leading_directions(factor_RD: Floats, white_DD: Floats, count: int) -> tuple[Floats, Floats]:
    """The variances, largest first, and unit directions (K×D) of the `count` greatest of the rows `factor·white`; fewer
    where fewer differ from 0.

    Exact for few rows; for many by orthogonal iteration, whose last ones may be a little off.
    """
    if len(factor_RD) <= FEW_ROWS:
        rows_RD = factor_RD @ white_DD
        variance_K, inner_RK = _largest(rows_RD @ rows_RD.T, count)
        inner_KD = (inner_RK / np.sqrt(variance_K)).T @ rows_RD
        return variance_K, inner_KD
    block = min(len(white_DD), count + SPARE)
    basis_DB = np.random.default_rng(0).standard_normal((len(white_DD), block), dtype=np.float32)
    for _ in range(ITERATIONS):
        basis_DB = np.linalg.qr(white_DD.T @ (factor_RD.T @ (factor_RD @ (white_DD @ basis_DB))))[0]
    rows_RB = factor_RD @ (white_DD @ basis_DB)
    variance_K, inner_BK = _largest(rows_RB.T @ rows_RB, count)
    return variance_K, (basis_DB @ inner_BK).T


def _largest(gram_KK: Floats, count: int) -> tuple[Floats, Floats]:
    """Eigenvalues, largest first, and eigenvectors by column; without those that are 0 but for rounding."""
    if not len(gram_KK):
        return np.zeros(0, np.float32), np.zeros((0, 0), np.float32)
    value_K, vector_KK = eigh(gram_KK, subset_by_index=[max(0, len(gram_KK) - count), len(gram_KK) - 1])
    kept = np.flatnonzero(value_K > 1e-6 * max(float(np.trace(gram_KK)), np.finfo(np.float64).tiny))[::-1]
    return value_K[kept], vector_KK[:, kept]
