"""Closed-form heads against the same things computed from the features themselves."""

from dataclasses import replace

import numpy as np
import pytest

from model import paper
from model.heads.closed_form import RowScale, closed_form_head, linear_discriminant, nearest_mean, ridge_regression
from model.heads.head import Head
from model.statistics.class_statistics import ClassStatistics
from model.statistics.shrinkage import oracle_shrunk

D, C = 7, 4


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    columns_N = np.repeat(np.arange(C), [30, 10, 25, 40])
    mixing_DD = rng.standard_normal((D, D))
    features_ND = (rng.standard_normal((C, D))[columns_N] + rng.standard_normal((len(columns_N), D))) @ mixing_DD + 3
    return features_ND.astype(np.float32), columns_N


def test_the_discriminant_picks_the_nearest_mean_by_the_pooled_mahalanobis_distance(
    data: tuple[np.ndarray, np.ndarray],
) -> None:
    features_ND, columns_N = data
    statistics = ClassStatistics.from_features(features_ND, columns_N, C)
    within_DD = sum(
        np.cov(features_ND[columns_N == c], rowvar=False) * ((columns_N == c).sum() - 1) for c in range(C)
    ) / (len(features_ND) - C)
    precision_DD = np.linalg.inv(oracle_shrunk(within_DD, len(features_ND) - C))
    gaps_NCD = features_ND[:, None] - np.stack([features_ND[columns_N == c].mean(axis=0) for c in range(C)])
    distance_NC = np.einsum("ncd,de,nce->nc", gaps_NCD, precision_DD, gaps_NCD)
    logits_NC = linear_discriminant(statistics).logits(features_ND)
    np.testing.assert_allclose(
        logits_NC - logits_NC[:, :1], -0.5 * (distance_NC - distance_NC[:, :1]), rtol=1e-2, atol=1e-2
    )


def test_the_discriminant_does_not_trust_directions_in_which_means_may_be_off() -> None:
    """Images hardly differ in the last direction, and the means do by less than their error."""
    rng = np.random.default_rng(0)
    features_ND = rng.standard_normal((2_000, 3)) * [1, 1, 0.1]
    columns_N = np.repeat([0, 1], 1_000)
    features_ND[columns_N == 1] += [3, 0, 0.3]
    certain = ClassStatistics.from_features(features_ND.astype(np.float32), columns_N, 2)
    doubtful = replace(certain, drift_error_C=np.full(2, 0.5, np.float32))
    apart_D, apart_doubtful_D = (
        np.abs(np.diff(linear_discriminant(one).weight_CD, axis=0)[0]) for one in (certain, doubtful)
    )
    assert apart_D[2] > 3 * apart_D[0] and apart_doubtful_D[2] < apart_doubtful_D[0]


def test_ridge_from_statistics_is_ridge_on_the_features(data: tuple[np.ndarray, np.ndarray]) -> None:
    features_ND, columns_N = data
    wide_ND = features_ND.astype(np.float64)
    gram_DD = wide_ND.T @ wide_ND
    target_NC = np.eye(C)[columns_N]
    expected_DC = np.linalg.solve(gram_DD + 0.01 * np.trace(gram_DD) / D * np.eye(D), wide_ND.T @ target_NC)
    head = ridge_regression(ClassStatistics.from_features(features_ND, columns_N, C))
    np.testing.assert_allclose(head.weight_CD, expected_DC.T, rtol=1e-3, atol=1e-5)


def test_nearest_mean_picks_the_largest_cosine(data: tuple[np.ndarray, np.ndarray]) -> None:
    features_ND, columns_N = data
    statistics = ClassStatistics.from_features(features_ND, columns_N, C)
    mean_CD = statistics.mean_CD
    cosine_NC = (features_ND @ mean_CD.T) / np.linalg.norm(features_ND, axis=1)[:, None]
    cosine_NC /= np.linalg.norm(mean_CD, axis=1)
    np.testing.assert_array_equal(nearest_mean(statistics).logits(features_ND).argmax(axis=1), cosine_NC.argmax(axis=1))


@pytest.mark.parametrize("kind", ["lda", "ridge", "nearest_mean"])
def test_every_kind_learns_classes_that_lie_apart_and_stands_one_image_each(kind: str) -> None:
    rng = np.random.default_rng(0)
    centre_CD = 5 * np.eye(C, D)
    columns_N = np.repeat(np.arange(C), 20)
    features_ND = (centre_CD[columns_N] + rng.standard_normal((80, D))).astype(np.float32)
    head = closed_form_head(kind, ClassStatistics.from_features(features_ND, columns_N, C))  # type: ignore[arg-type]
    assert (head.logits(features_ND).argmax(axis=1) == columns_N).mean() > 0.9
    single = closed_form_head(kind, ClassStatistics.from_features(centre_CD.astype(np.float32), np.arange(C), C))  # type: ignore[arg-type]
    assert single.logits(centre_CD.astype(np.float32)).argmax(axis=1).tolist() == list(range(C))


def test_a_head_brought_to_another_length_decides_the_same() -> None:
    rng = np.random.default_rng(0)
    head = Head(rng.standard_normal((C, D)), rng.standard_normal(C))
    scaled = RowScale(0.25).applied(head)
    assert RowScale.of(scaled).mean_length == pytest.approx(0.25)
    features_ND = rng.standard_normal((50, D)).astype(np.float32)
    np.testing.assert_array_equal(scaled.logits(features_ND).argmax(axis=1), head.logits(features_ND).argmax(axis=1))


def test_rows_of_zeros_have_no_say_in_how_long_rows_are() -> None:
    head = Head(np.stack([np.zeros(D), np.eye(D)[0] * 3, np.eye(D)[1]]), np.zeros(3))
    assert RowScale.of(head).mean_length == pytest.approx(2.0)
    assert head.silent_C.tolist() == [0]
    silent = Head(np.zeros((2, D)), np.zeros(2))
    assert RowScale.of(silent) == RowScale.of(Head.empty(D)) == RowScale(paper.HEAD_STD * D**0.5)
    np.testing.assert_array_equal(RowScale(1.0).applied(silent).weight_CD, silent.weight_CD)
