"""Where new images of a class may lie: wider, and in more directions, than the images that were seen. Free of torch."""

import numpy as np
from numpy.typing import NDArray

from model import paper
from model.statistics.class_statistics import ClassStatistics
from model.statistics.shrinkage import oracle_part

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def sample_new_images(statistics: ClassStatistics, per_class: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Features drawn for each class, and their columns; classes without images are left out.

    n images span n − 1 directions at most, and new ones leave these: N(mean_c, (1 + 1/n)·S_c + drift error²·I), with
    S_c = (1−ρ)·Σ_c + ρ·(trace Σ_c/D)·I by oracle approximating shrinkage. A class of one image spreads evenly, by the
    mean variance of the others.
    """
    present = np.flatnonzero(statistics.count_C)
    variance_C = np.array([float(np.square(one_RD, dtype=np.float64).sum()) for one_RD in statistics.factors])
    variance_C /= statistics.dimension
    several_C = statistics.count_C > 1
    usual = float(variance_C[several_C].mean()) if several_C.any() else 0.0
    drawn = [
        _drawn(statistics, int(column), per_class, float(variance_C[column]) if several_C[column] else usual, rng)
        for column in present
    ]
    features_ND = np.concatenate(drawn) if drawn else np.zeros((0, statistics.dimension), np.float32)
    return features_ND, np.repeat(present, per_class).astype(np.int64)


def _drawn(statistics: ClassStatistics, column: int, count: int, variance: float, rng: np.random.Generator) -> Floats:
    factor_RD, images = statistics.factors[column], int(statistics.count_C[column])
    part = _part(factor_RD, variance, images - 1)
    inner_NR = rng.standard_normal((count, len(factor_RD)), dtype=np.float32)
    outer_ND = rng.standard_normal((count, statistics.dimension), dtype=np.float32)
    widening = 1 + 1 / images
    even = np.sqrt(widening * part * variance + statistics.drift_variance_C[column] + paper.RIDGE)
    own_ND = inner_NR @ factor_RD * np.float32(np.sqrt(widening * (1 - part)))
    return np.asarray(statistics.mean_CD[column] + own_ND + np.float32(even) * outer_ND, dtype=np.float32)


def _part(factor_RD: Floats, variance: float, freedom: int) -> float:
    if not len(factor_RD):
        return 1.0
    gram_RR = factor_RD.astype(np.float64) @ factor_RD.T.astype(np.float64)
    dimension = factor_RD.shape[1]
    return oracle_part(variance, float(np.square(gram_RR).sum()) / dimension**2, freedom, dimension)
