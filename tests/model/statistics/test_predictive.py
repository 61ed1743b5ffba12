"""Features of new images: the mean and covariance that are stated, for many images, few and a single one."""

import numpy as np
import pytest

from model import paper
from model.statistics.class_statistics import ClassStatistics
from model.statistics.predictive import sample_new_images
from model.statistics.shrinkage import oracle_shrunk

D = 6


def statistics_of(*sizes: int) -> ClassStatistics:
    rng = np.random.default_rng(4)
    columns_N = np.repeat(np.arange(len(sizes)), sizes)
    features_ND = rng.standard_normal((len(columns_N), D)) @ rng.standard_normal((D, D)) + 3 * columns_N[:, None]
    return ClassStatistics.from_features(features_ND.astype(np.float32), columns_N, len(sizes))


def drawn(statistics: ClassStatistics, column: int) -> np.ndarray:
    features_ND, columns_N = sample_new_images(statistics, 100_000, np.random.default_rng(0))
    return features_ND[columns_N == column]


@pytest.mark.parametrize("column", [0, 1])
def test_classes_spread_by_their_shrunk_covariance_and_the_error_of_their_mean(column: int) -> None:
    statistics = statistics_of(4, 60)
    images = int(statistics.count_C[column])
    expected_DD = (1 + 1 / images) * oracle_shrunk(statistics.covariance(column), images - 1) + paper.RIDGE * np.eye(D)
    features_ND = drawn(statistics, column)
    scale = np.abs(expected_DD).max()
    np.testing.assert_allclose(np.cov(features_ND, rowvar=False) / scale, expected_DD / scale, atol=0.03)
    np.testing.assert_allclose(features_ND.mean(axis=0), statistics.mean_CD[column], atol=0.05 * np.sqrt(scale))


def test_a_class_of_one_image_spreads_evenly_by_what_others_do() -> None:
    statistics = statistics_of(1, 60)
    expected_DD = 2 * np.trace(statistics.covariance(1)) / D * np.eye(D)
    np.testing.assert_allclose(np.cov(drawn(statistics, 0), rowvar=False), expected_DD, atol=0.03 * expected_DD.max())


def test_what_carrying_left_wrong_is_added() -> None:
    statistics = statistics_of(60)
    carried = ClassStatistics(
        statistics.count_C, statistics.mean_CD, statistics.factors, np.array([2.0], dtype=np.float32)
    )
    more_DD = np.cov(drawn(carried, 0), rowvar=False) - np.cov(drawn(statistics, 0), rowvar=False)
    np.testing.assert_allclose(np.diag(more_DD), 4.0, rtol=0.1)


def test_classes_without_images_are_left_out_and_nothing_gives_nothing() -> None:
    features_ND, columns_N = sample_new_images(statistics_of(1, 0, 1), 5, np.random.default_rng(0))
    assert columns_N.tolist() == [0] * 5 + [2] * 5 and np.isfinite(features_ND).all()
    assert sample_new_images(ClassStatistics.empty(D), 5, np.random.default_rng(0))[0].shape == (0, D)
