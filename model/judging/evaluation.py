"""How well a sequence of versions does: accuracies by task, forgetting, and how sure one may be of a rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Z_95_ONE_SIDED = 1.6448536269514722
"""Standard normal quantile of 95 %."""


@dataclass(frozen=True)
class AccuracyMatrix:
    """a_{k,j}: accuracy on task j's test images after learning task k, for j ≤ k; rates in 0–1.

    `accuracy_TT` holds NaN above the diagonal; `images_T` counts each task's test images.
    """

    accuracy_TT: Floats
    images_T: NDArray[np.int64]

    @property
    def overall_T(self) -> Floats:
        """Accuracy over all images of the tasks seen so far, after each task (image-weighted)."""
        seen = [self.accuracy_TT[k, : k + 1] @ self.images_T[: k + 1] for k in range(len(self.images_T))]
        return np.asarray(seen) / np.cumsum(self.images_T)

    @property
    def last(self) -> float:
        """Last-Acc: overall accuracy after the last task."""
        return float(self.overall_T[-1])

    @property
    def incremental(self) -> float:
        """Inc-Acc: the mean over tasks of the overall accuracy."""
        return float(self.overall_T.mean())

    @property
    def incremental_T(self) -> Floats:
        """The mean of the overall accuracy over the tasks so far, after each task."""
        return np.asarray(self.overall_T.cumsum() / np.arange(1, len(self.images_T) + 1))

    @property
    def task_mean(self) -> float:
        """The mean over tasks of the accuracy after the last task, which prompt papers report."""
        return float(self.accuracy_TT[-1].mean())

    @property
    def forgetting(self) -> float | None:
        """The mean fall of the earlier tasks from their best; None with one task."""
        if len(self.images_T) < 2:
            return None
        return float(np.mean(self.forgetting_T))

    @property
    def backward_transfer(self) -> float | None:
        """The mean change of the earlier tasks since they were learned; None with one task."""
        if len(self.images_T) < 2:
            return None
        return float(np.mean(self.backward_transfer_T))

    @property
    def forgetting_T(self) -> Floats:
        """The fall of each task but the last from its best, which may be its last accuracy."""
        return np.asarray(np.nanmax(self.accuracy_TT, axis=0)[:-1] - self.accuracy_TT[-1, :-1])

    @property
    def backward_transfer_T(self) -> Floats:
        """The change of each task but the last since it was learned."""
        return np.asarray(self.accuracy_TT[-1, :-1] - np.diag(self.accuracy_TT)[:-1])


def accuracy_matrix(rates_by_task: Sequence[Sequence[float]], images: Sequence[int]) -> AccuracyMatrix:
    """The matrix whose row k holds the accuracy on each task j ≤ k; `images` counts each task's test images."""
    count = len(images)
    accuracy_TT = np.full((count, count), np.nan)
    for k, rates in enumerate(rates_by_task):
        accuracy_TT[k, : k + 1] = rates
    return AccuracyMatrix(accuracy_TT, np.array(images, dtype=np.int64))


def wilson_upper(correct: int, images: int, z: float = Z_95_ONE_SIDED) -> float:
    """Upper end of Wilson's interval for a rate, one-sided 95 % unless `z` says otherwise.

    Raises ValueError without images.
    """
    if images < 1:
        raise ValueError("a rate of no images has no interval")
    rate, squared = correct / images, z * z / images
    spread = z * sqrt(rate * (1 - rate) / images + squared / (4 * images))
    return (rate + squared / 2 + spread) / (1 + squared)


def paired_standard_error(now_N: NDArray[np.bool_], then_N: NDArray[np.bool_]) -> float:
    """Standard error of the difference of two accuracies on the same images; 0 for fewer than two.

    Raises ValueError where the two differ in length.
    """
    if len(now_N) != len(then_N):
        raise ValueError(f"{len(now_N)} images against {len(then_N)}")
    if len(now_N) < 2:
        return 0.0
    difference_N = now_N.astype(np.float64) - then_N
    return float(difference_N.std(ddof=1) / sqrt(len(difference_N)))
