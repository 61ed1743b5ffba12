"""Sampled features have exactly the Gaussian that the statistics describe."""

from dataclasses import replace

import numpy as np
import torch

from model.statistics.class_statistics import ClassStatistics
from model.statistics.sampling import GaussianSampler
from model.statistics.shrinkage import FewImages

D = 8


def sampler(statistics: ClassStatistics, scale: float = 1.0, few: FewImages | None = None) -> GaussianSampler:
    scale_C = np.full(statistics.class_count, scale)
    return GaussianSampler(statistics, scale_C, 0.01, few, torch.Generator().manual_seed(0))


def statistics_of(*sizes: int) -> ClassStatistics:
    rng = np.random.default_rng(3)
    columns_N = np.repeat(np.arange(len(sizes)), sizes)
    features_ND = rng.standard_normal((len(columns_N), D)) @ rng.standard_normal((D, D)) + columns_N[:, None]
    return ClassStatistics.from_features(features_ND.astype(np.float32), columns_N, len(sizes))


def drawn(one: GaussianSampler, column: int, per_class: int = 100_000) -> np.ndarray:
    features_ND, columns_N = one.draw(per_class)
    return features_ND[columns_N == column].numpy()


def assert_covariance(features_ND: np.ndarray, expected_DD: np.ndarray) -> None:
    scale = np.abs(expected_DD).max()
    np.testing.assert_allclose(np.cov(features_ND, rowvar=False) / scale, expected_DD / scale, atol=0.03)


def test_the_covariance_is_the_classs_with_the_ridge_on_its_diagonal() -> None:
    statistics = statistics_of(4, 40)
    for column in (0, 1):
        assert_covariance(drawn(sampler(statistics), column), statistics.covariance(column) + 0.01 * np.eye(D))


def test_what_carrying_left_wrong_widens_a_class_in_every_direction() -> None:
    statistics = replace(statistics_of(4, 40), drift_error_C=np.array([2.0, 0.0]))
    for column, wider in ((0, statistics.drift_variance_C[0]), (1, 0.0)):
        expected_DD = statistics.covariance(column) + (0.01 + wider) * np.eye(D)
        assert_covariance(drawn(sampler(statistics), column), expected_DD)
    assert statistics.drift_variance_C[0] > 1


def test_pairs_mirror_each_other_so_that_the_mean_is_exact() -> None:
    statistics = statistics_of(5, 9)
    features_ND = drawn(sampler(statistics, scale=0.9), 1, per_class=10)
    np.testing.assert_allclose(features_ND.mean(axis=0), 0.9 * statistics.mean_CD[1], rtol=1e-5, atol=1e-5)


def test_an_odd_number_of_features_is_drawn_as_asked() -> None:
    features_ND, columns_N = sampler(statistics_of(5, 9)).draw(7)
    assert features_ND.shape == (14, D)
    assert columns_N.bincount().tolist() == [7, 7]


def test_a_class_of_one_image_borrows_the_pooled_covariance_and_spreads_wider() -> None:
    statistics = statistics_of(1, 40)
    expected_DD = 2 * statistics.pooled_covariance() + 0.01 * np.eye(D)
    assert_covariance(drawn(sampler(statistics, few=FewImages()), 0), expected_DD)


def test_a_class_of_few_images_mixes_its_own_covariance_with_the_pooled_one() -> None:
    statistics, few = statistics_of(6, 40), FewImages(kappa=5.0, fewer_than=10)
    mixed_DD = 0.5 * statistics.covariance(0) + 0.5 * statistics.pooled_covariance()
    assert_covariance(drawn(sampler(statistics, few=few), 0), (1 + 1 / 6) * mixed_DD + 0.01 * np.eye(D))
    assert_covariance(drawn(sampler(statistics, few=few), 1), statistics.covariance(1) + 0.01 * np.eye(D))


def test_an_epoch_in_parts_stays_under_the_limit_and_loses_nothing() -> None:
    parts = list(sampler(statistics_of(5, 9)).epoch(10, most_bytes=2 * 3 * D * 4))
    assert len(parts) == 4
    assert sum(len(columns_N) for _, columns_N in parts) == 20
    assert all(len(features_ND) <= 2 * 3 for features_ND, _ in parts)
    assert len(list(sampler(statistics_of(5, 9)).epoch(2, most_bytes=1))) == 2
