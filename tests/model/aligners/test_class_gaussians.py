"""Per-class Gaussians against the density itself, and where they beat one covariance for all."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from model.aligners.class_gaussians import ClassGaussianAligner, correlation
from model.heads.head import Head
from model.method import AlignmentTask
from model.statistics.class_statistics import ClassStatistics
from model.statistics.shrinkage import oracle_shrunk

D = 4


def task(features_ND: np.ndarray, columns_N: np.ndarray, classes: int) -> AlignmentTask:
    statistics = ClassStatistics.from_features(features_ND, columns_N, classes)
    head = Head(np.zeros((classes, D), np.float32), np.zeros(classes, np.float32))
    kept: dict[str, torch.Tensor] = {}
    return AlignmentTask(head, statistics, np.ones(classes, np.int64), 1, features_ND, columns_N, kept, seed=0)


def spread(each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes of one mean: only their spread tells them apart."""
    rng = np.random.default_rng(seed)
    columns_N = np.repeat([0, 1], each)
    return (rng.standard_normal((2 * each, D)) * np.where(columns_N == 0, 0.4, 2.0)[:, None]).astype(
        np.float32
    ), columns_N


def test_quadratic_scores_are_log_densities_but_for_a_constant() -> None:
    features_ND, columns_N = spread(50, 0)
    features_ND[columns_N == 1] += 1.5
    given = task(features_ND, columns_N, 2)
    aligner = ClassGaussianAligner("quadratic", strength=5.0)
    made = aligner.align(given)
    logits_NC = aligner.classifier(made.head, made.kept).logits(features_ND)
    pooled_DD = oracle_shrunk(given.statistics.pooled_covariance(), given.statistics.freedom)
    density_NC = np.stack(
        [
            multivariate_normal.logpdf(
                features_ND, given.statistics.mean_CD[c], 49 / 54 * given.statistics.covariance(c) + 5 / 54 * pooled_DD
            )
            for c in range(2)
        ],
        axis=1,
    )
    np.testing.assert_allclose(
        logits_NC[:, 1] - logits_NC[:, 0], density_NC[:, 1] - density_NC[:, 0], rtol=1e-3, atol=1e-3
    )
    assert not aligner.is_in_head


def test_spread_alone_tells_classes_apart() -> None:
    made = ClassGaussianAligner("quadratic", strength=1.0).align(task(*spread(60, 0), 2))
    test_ND, test_N = spread(200, 1)
    classifier = ClassGaussianAligner("quadratic").classifier(made.head, made.kept)
    assert (classifier.logits(test_ND).argmax(axis=1) == test_N).mean() > 0.9
    assert (made.head.logits(test_ND).argmax(axis=1) == test_N).mean() < 0.7


def test_fecam_measures_distance_by_the_shrunken_correlation() -> None:
    features_ND, columns_N = spread(30, 3)
    given = task(features_ND, columns_N, 2)
    aligner = ClassGaussianAligner("fecam", strength=0.5)
    made = aligner.align(given)
    logits_NC = aligner.classifier(made.head, made.kept).logits(features_ND[:5])
    for column in range(2):
        covariance = given.statistics.covariance(column)
        shrunk = covariance + 0.5 * np.mean(np.diag(covariance)) * np.eye(D)
        normal = np.diag(1 / np.sqrt(np.diag(shrunk)))
        for row in range(5):
            away = features_ND[row] - given.statistics.mean_CD[column]
            wanted = -0.5 * away @ np.linalg.inv(normal @ shrunk @ normal) @ away
            assert logits_NC[row, column] == pytest.approx(wanted, rel=1e-3)


def test_a_class_of_one_image_is_measured_plainly() -> None:
    np.testing.assert_array_equal(correlation(np.zeros((3, 3)), 1.0), np.eye(3))
    given = task(np.eye(2, D, dtype=np.float32), np.array([0, 1]), 2)
    for kind in ("fecam", "quadratic"):
        made = ClassGaussianAligner(kind).align(given)
        logits_NC = ClassGaussianAligner().classifier(made.head, made.kept).logits(given.features_ND)
        assert logits_NC.argmax(axis=1).tolist() == [0, 1]
