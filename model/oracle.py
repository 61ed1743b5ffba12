"""Alignment if no statistics were stale: an upper bound that only a benchmark with all images can have."""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.alignment import AlignmentPlan, align
from model.head import Head
from model.statistics import ClassStatistics

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

ORACLE_RIDGE: Final = 1e-5
"""Added to the diagonal of covariances that were computed anew (method.md 2.2; the stored ones get 1e-4)."""


def oracle_aligned(
    unaligned: Head,
    features_ND: Floats,
    columns_N: Ints,
    blocks_C: Ints,
    current_block: int,
    plan: AlignmentPlan | None = None,
    *,
    seed: int,
    device: str = "cpu",
) -> Head:
    """The head aligned on statistics of the present features of all classes' training images.

    The gap to the head aligned on stored statistics measures drift. Raises ValueError where a class has no image.
    """
    statistics = ClassStatistics.from_features(features_ND, columns_N, unaligned.class_count)
    fresh = replace(plan or AlignmentPlan(), ridge=ORACLE_RIDGE)
    return align(unaligned, statistics, blocks_C, current_block, fresh, seed=seed, device=device)
