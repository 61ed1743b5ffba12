"""Class statistics carried along when the backbone moves.

The images of old classes are gone; those of the current task pass through the old and the new backbone, and a linear
map from old features to new ones is learned from them. Ridge regression towards the identity: directions that the
task's images say nothing about stay as they are.

No map is right for classes that it was not learned from, and statistics keep account of that: how far each carried mean
may be off is measured on the task's own classes, each carried by a map that was learned without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from model.statistics.class_statistics import ClassStatistics

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]

STRENGTH = 1.0
"""Weight of the identity, in units of the mean feature energy (trace of FᵀF over D).

Chosen on training images alone: of 0.001 to 10 it is where a map, fitted without one class of a task, moves that class
best, on Split CIFAR-100 (D = 192, 450 images; flat from 1 to 3) and near best on digits (D = 1,280, 120 images).
"""

STRENGTHS = (1.0, 3.0, 10.0)
"""Of which each task takes the one that its own left-out classes are moved best by: the fewer its images are for the
dimension, the stronger (`docs/decisions/0007-statistics-follow-the-backbone.md`).
"""

FOLDS = 10
"""Parts of a task's classes that are left out in turn: a system of D × D for each and each strength."""


class DriftMap(Protocol):
    """How statistics of the old feature space read in the new one."""

    def carry(self, statistics: ClassStatistics) -> ClassStatistics:
        """The same classes in the new space."""

    def mapped(self, features_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features of the old space as the new one would have them."""


@dataclass(frozen=True)
class Identity:
    """The space stands still."""

    def carry(self, statistics: ClassStatistics) -> ClassStatistics:
        """The statistics as they are."""
        return statistics

    def mapped(self, features_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        """The features as they are."""
        return features_ND


IDENTITY = Identity()


@dataclass(frozen=True, eq=False)
class RidgeMap:
    """new = old · `matrix_DD`, for rows of features; `error` is how far a carried mean is off, as a deviation that is
    the same in every direction.
    """

    matrix_DD: Doubles
    error: float = 0.0

    @classmethod
    def fit(cls, features_old_ND: Floats, features_new_ND: Floats, strength: float = STRENGTH) -> "RidgeMap":
        """The minimiser of ‖F_old·P − F_new‖² + λ‖P − I‖², λ = strength · trace(F_oldᵀF_old)/D.

        Rows are the same images. Raises ValueError where the shapes differ or nothing is given.
        """
        if features_old_ND.shape != features_new_ND.shape or not len(features_old_ND):
            raise ValueError(f"old features {features_old_ND.shape} do not pair with new ones {features_new_ND.shape}")
        old_ND, new_ND = features_old_ND.astype(np.float64), features_new_ND.astype(np.float64)
        gram_DD = old_ND.T @ old_ND
        dimension = len(gram_DD)
        ridge_DD = np.eye(dimension) * max(strength * np.trace(gram_DD) / dimension, np.finfo(np.float64).tiny)
        return cls(np.linalg.solve(gram_DD + ridge_DD, old_ND.T @ new_ND + ridge_DD))

    def carry(self, statistics: ClassStatistics) -> ClassStatistics:
        """Means and factors through the map: μ·P, A·P, so that Σ becomes PᵀΣP; the errors of all maps so far add up as
        independent ones do.
        """
        error_C = np.sqrt(statistics.drift_variance_C + self.error**2)
        return ClassStatistics(
            statistics.count_C,
            self.mapped(statistics.mean_CD),
            tuple(self.mapped(factor_RD) for factor_RD in statistics.factors),
            np.where(statistics.count_C > 0, error_C, 0.0).astype(np.float32),
        )

    def mapped(self, features_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features, or rows of a factor, times the map."""
        return (features_ND.astype(np.float64) @ self.matrix_DD).astype(np.float32)


@dataclass(frozen=True)
class RidgeDrift:
    """Statistics of old classes follow the backbone through a linear map, pulled towards the identity by `strength`;
    None: by the one of `STRENGTHS` that leaves least of the movement of classes left out, the first of equal ones.
    """

    strength: float | None = None

    def fit(
        self,
        features_old_ND: NDArray[np.float32],
        features_new_ND: NDArray[np.float32],
        columns_N: NDArray[np.int64],
    ) -> DriftMap:
        """The map from the same images' features before and after; the identity where nothing moved."""
        if np.array_equal(features_old_ND, features_new_ND):
            return IDENTITY
        strengths = STRENGTHS if self.strength is None else (self.strength,)
        errors = left_out_errors(features_old_ND, features_new_ND, columns_N, strengths)
        best = int(np.argmin(errors))
        return replace(RidgeMap.fit(features_old_ND, features_new_ND, strengths[best]), error=errors[best])


def left_out_errors(
    old_ND: Floats, new_ND: Floats, columns_N: NDArray[np.int64], strengths: Sequence[float]
) -> list[float]:
    """For each strength the root of the mean square, over classes and directions, of what is left of a class's movement
    when its mean is carried by the map of the other classes; with a single class, of its whole movement.

    More than `FOLDS` classes are left out several at a time.
    """
    old_ND, new_ND = old_ND.astype(np.float64), new_ND.astype(np.float64)
    gram_DD, cross_DD = old_ND.T @ old_ND, old_ND.T @ new_ND
    classes = np.unique(columns_N)
    if len(classes) == 1:
        # The sums of the others are what rounding leaves, no system to solve.
        movement_D = new_ND.mean(axis=0) - old_ND.mean(axis=0)
        return [float(np.sqrt(np.mean(np.square(movement_D))))] * len(strengths)
    left_SCD = []
    for fold in np.array_split(classes, min(FOLDS, len(classes))):
        own_N = np.isin(columns_N, fold)
        others_DD = gram_DD - old_ND[own_N].T @ old_ND[own_N]
        others_cross_DD = cross_DD - old_ND[own_N].T @ new_ND[own_N]
        before_FD, after_FD = (
            np.stack([features_ND[columns_N == column].mean(axis=0) for column in fold])
            for features_ND in (old_ND, new_ND)
        )
        left_SCD.append(_left_over(before_FD, after_FD, others_DD, others_cross_DD, strengths))
    return [float(one) for one in np.sqrt(np.mean(np.square(np.concatenate(left_SCD, axis=1)), axis=(1, 2)))]


def _left_over(
    before_FD: Doubles, after_FD: Doubles, gram_DD: Doubles, cross_DD: Doubles, strengths: Sequence[float]
) -> Doubles:
    """Means after, less means before through the map that the sums of others make, at each strength: S×F×D."""
    energy = np.trace(gram_DD) / len(gram_DD)
    left = []
    for ridge in (strength * energy for strength in strengths):
        if ridge <= 0:
            left.append(after_FD - before_FD)
            continue
        ridged_DD = gram_DD + ridge * np.eye(len(gram_DD))
        through_DF = cho_solve(cho_factor(ridged_DD, lower=True), before_FD.T)
        left.append(after_FD - through_DF.T @ cross_DD - ridge * through_DF.T)
    return np.stack(left)
