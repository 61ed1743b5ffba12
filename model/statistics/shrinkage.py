"""Covariances from fewer images than they have directions: pulled towards something of full rank, by a stated rule."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.statistics.class_statistics import ClassStatistics
from model.stopping import Check, unchecked

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

DRIFT_CAUTION = 3.0
"""How many times the mean drift variance widens the covariance that classes share. Drift errors lie in few directions,
in which they are larger than on average over all.
"""

SMALLEST_FLOOR = 1e-8
"""Variance that every direction keeps, where all images are alike."""


@dataclass(frozen=True)
class FewImages:
    """A class of fewer than `fewer_than` images (None: any) borrows the pooled covariance: Σ = (1−α)·Σ_c + α·Σ_pool.

    α = κ/(κ + n − 1), so that one image borrows all (regularised discriminant analysis, Friedman 1989), with κ `kappa`
    or `of_dimension`·D, whichever is more. Its mean has a variance of Σ/n itself, hence samples spread wider by
    √(1 + 1/n) (the predictive distribution).
    """

    kappa: float = 10.0
    fewer_than: int | None = 20
    of_dimension: float = 0.0

    def borrowed_C(self, count_C: Ints, dimension: int) -> Doubles:
        """α by class in so many dimensions, 0 for classes of enough images."""
        kappa = max(self.kappa, self.of_dimension * dimension)
        return np.where(self._few_C(count_C), kappa / (kappa + np.maximum(count_C - 1, 0)), 0.0)

    def widening_C(self, count_C: Ints) -> Doubles:
        """Factor of the deviations by class, 1 for classes of enough images."""
        return np.where(self._few_C(count_C), np.sqrt(1 + 1 / np.maximum(count_C, 1)), 1.0)

    def _few_C(self, count_C: Ints) -> NDArray[np.bool_]:
        return np.full(count_C.shape, True) if self.fewer_than is None else count_C < self.fewer_than


FEW_IMAGES = FewImages()
"""The rule that is used unless another is asked for."""

FEW_FOR_THE_DIMENSION = FewImages(fewer_than=None, of_dimension=0.25)
"""For alignment that begins from the discriminant, which bears all on the pooled covariance.

50 images span 49 of 1,280 directions: heads that are trained on what is drawn of those alone tell classes apart by
directions in which they only seem to be narrow. Chosen on validation images: `benchmarks/results/experiments-lite0.md`.
"""


def oracle_part(mean_variance: float, energy: float, freedom: int, dimension: int) -> float:
    """ρ of oracle approximating shrinkage (Chen et al. 2010), for S of this trace/D and this mean of squared entries.

    `freedom` is the number of independent deviations that S was made of.
    """
    excess = (freedom + 1) * (energy - mean_variance**2 / dimension)
    return 1.0 if excess <= 0 else min(1.0, (energy + mean_variance**2) / excess)


def oracle_shrunk(covariance_DD: Doubles, freedom: int) -> Doubles:
    """(1−ρ)·S + ρ·(trace S/D)·I with ρ by oracle approximating shrinkage; never singular.

    `freedom` is the number of independent deviations that S was made of.
    """
    dimension = len(covariance_DD)
    mean_variance = float(np.trace(covariance_DD)) / dimension
    part = oracle_part(mean_variance, float((covariance_DD**2).mean()), freedom, dimension)
    floor = max(mean_variance * part, mean_variance * 1e-6, SMALLEST_FLOOR)
    return np.asarray((1 - part) * covariance_DD + floor * np.eye(dimension))


def shared_covariance(statistics: ClassStatistics, check: Check = unchecked) -> Doubles:
    """Σ_pool, D×D: shrunk by `oracle_shrunk` and widened by the classes' mean drift variance; never singular.

    A direction in which images differ less than the means are known to be off tells nothing apart.
    """
    shared_DD = oracle_shrunk(statistics.pooled_covariance(check), statistics.freedom)
    if statistics.class_count:
        shared_DD += DRIFT_CAUTION * statistics.drift_variance_C.mean() * np.eye(statistics.dimension)
    return shared_DD
