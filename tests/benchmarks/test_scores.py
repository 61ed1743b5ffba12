"""Means that are drawn in by what chance sets them apart."""

import numpy as np

from benchmarks.accuracy.scores import drawn_in
from model.statistics.class_statistics import ClassStatistics

CLASSES, IMAGES, DIMENSION = 30, 40, 60


def of_classes_apart_by(distance: float) -> tuple[ClassStatistics, np.ndarray]:
    """Statistics of made features of unit variance, and the means that they were drawn around: of this deviation along
    each of five directions.
    """
    rng = np.random.default_rng(0)
    true_CD = np.zeros((CLASSES, DIMENSION))
    true_CD[:, :5] = distance * rng.standard_normal((CLASSES, 5))
    columns_N = np.repeat(np.arange(CLASSES), IMAGES)
    features_ND = true_CD[columns_N] + rng.standard_normal((len(columns_N), DIMENSION))
    return ClassStatistics.from_features(features_ND.astype(np.float32), columns_N, CLASSES), true_CD


def spread_of(mean_CD: np.ndarray) -> float:
    return float(np.square(mean_CD - mean_CD.mean(axis=0)).sum())


def test_means_that_chance_alone_sets_apart_nearly_meet() -> None:
    statistics, _ = of_classes_apart_by(0)
    assert spread_of(drawn_in(statistics).mean_CD) < 0.1 * spread_of(statistics.mean_CD)


def test_drawn_in_means_are_as_far_apart_as_those_of_all_images_would_be() -> None:
    statistics, true_CD = of_classes_apart_by(1.5)
    seen, true, drawn = (spread_of(mean_CD) for mean_CD in (statistics.mean_CD, true_CD, drawn_in(statistics).mean_CD))
    assert seen > 1.08 * true and abs(drawn / true - 1) < 0.04


def test_nothing_else_changes() -> None:
    statistics, _ = of_classes_apart_by(1)
    drawn = drawn_in(statistics)
    assert drawn.factors is statistics.factors and drawn.count_C is statistics.count_C
    np.testing.assert_allclose(drawn.mean_CD.mean(axis=0), statistics.mean_CD.mean(axis=0), atol=1e-5)
