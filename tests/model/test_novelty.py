"""Images far from every class are not `known`, others are, at the rate that was asked for."""

import numpy as np
import pytest

from model.novelty import NoveltyRule, auroc, fit_novelty, left_out_auroc
from model.statistics import ClassStatistics

D, C = 16, 5


def world(count: int, seed: int, classes: range = range(C)) -> tuple[np.ndarray, np.ndarray]:
    centre_CD = np.random.default_rng(1).standard_normal((12, D)) * 3
    columns_N = np.repeat(list(classes), count)
    noise_ND = np.random.default_rng(seed).standard_normal((len(columns_N), D))
    return (centre_CD[columns_N] + noise_ND).astype(np.float32), columns_N


@pytest.fixture(scope="module")
def rule() -> NoveltyRule:
    statistics = ClassStatistics.from_features(*world(40, 2), C)
    return fit_novelty(statistics, *world(200, 3), rate=0.9)


def test_known_images_pass_at_the_stated_rate(rule: NoveltyRule) -> None:
    assert rule.known(world(200, 3)[0]).mean() == pytest.approx(0.9, abs=0.01)
    assert rule.known(world(500, 4)[0]).mean() == pytest.approx(0.9, abs=0.04)


def test_images_of_other_classes_are_rejected(rule: NoveltyRule) -> None:
    unknown_ND, _ = world(100, 5, range(6, 12))
    assert rule.known(unknown_ND).mean() < 0.1
    assert auroc(rule.scores(world(100, 6)[0]), rule.scores(unknown_ND)) > 0.95


def test_distances_are_mahalanobis_distances_to_the_class_means(rule: NoveltyRule) -> None:
    features_ND, _ = world(3, 9)
    precision_DD = rule.whitening_KK.astype(np.float64) @ rule.whitening_KK.T
    mean_CD = ClassStatistics.from_features(*world(40, 2), C).mean_CD
    gaps_NCD = features_ND[:, None].astype(np.float64) - mean_CD
    expected_NC = np.einsum("ncd,de,nce->nc", gaps_NCD, precision_DD, gaps_NCD)
    if rule.relative:
        background_DD = rule.background_KK.astype(np.float64)
        expected_NC -= ((features_ND @ background_DD - rule.background_K) ** 2).sum(axis=1)[:, None]
    np.testing.assert_allclose(rule.distances(features_ND), expected_NC, rtol=1e-3, atol=1e-2)


def test_the_form_is_chosen_that_tells_left_out_classes_better() -> None:
    features_ND, columns_N = world(60, 2)
    features_ND[:, 0] += np.random.default_rng(0).standard_normal(len(features_ND)).astype(np.float32) * 50
    statistics = ClassStatistics.from_features(features_ND, columns_N, C)
    chosen = fit_novelty(statistics, features_ND, columns_N)
    plain = NoveltyRule(
        chosen.whitening_KK, chosen.centre_CK, np.zeros((0, D), np.float32), np.zeros(0, np.float32), 0.0
    )
    assert left_out_auroc(chosen, features_ND, columns_N) >= left_out_auroc(plain, features_ND, columns_N)


def test_without_held_out_images_the_statistics_are_sampled() -> None:
    statistics = ClassStatistics.from_features(*world(40, 2), C)
    rule = fit_novelty(statistics, np.zeros((0, D), np.float32), np.zeros(0, np.int64))
    assert 0.8 < rule.known(world(200, 4)[0]).mean() <= 1.0
    again = fit_novelty(statistics, np.zeros((0, D), np.float32), np.zeros(0, np.int64))
    assert again.threshold == rule.threshold


def test_one_class_of_one_image_still_makes_a_rule() -> None:
    features_1D, _ = world(1, 2, range(1))
    rule = fit_novelty(
        ClassStatistics.from_features(features_1D, np.zeros(1, np.int64), 1), features_1D, np.zeros(1, int)
    )
    assert rule.known(features_1D).tolist() == [True]
    assert rule.known(features_1D + 100).tolist() == [False]


def test_no_class_makes_no_rule() -> None:
    with pytest.raises(ValueError, match="no class"):
        fit_novelty(ClassStatistics.empty(D), np.zeros((0, D), np.float32), np.zeros(0, np.int64))


def test_a_stored_rule_answers_bit_for_bit(rule: NoveltyRule) -> None:
    back = NoveltyRule.from_arrays(rule.to_arrays())
    features_ND, _ = world(10, 9)
    np.testing.assert_array_equal(back.scores(features_ND), rule.scores(features_ND))
    assert back.threshold == rule.threshold and back.relative == rule.relative


def test_a_rule_on_the_first_numbers_reads_no_others() -> None:
    statistics = ClassStatistics.from_features(*world(40, 2), C)
    features_ND, columns_N = world(200, 3)
    rule = fit_novelty(statistics.leading(6), features_ND, columns_N, rate=0.9)
    others_ND = np.concatenate([features_ND[:, :6], 100 + 9 * world(200, 7)[0][:, 6:]], axis=1)
    np.testing.assert_array_equal(rule.scores(others_ND), rule.scores(features_ND))
    assert rule.dimension == 6 and rule.known(features_ND).mean() == pytest.approx(0.9, abs=0.01)
    alone = fit_novelty(statistics.leading(6), np.ascontiguousarray(features_ND[:, :6]), columns_N, rate=0.9)
    np.testing.assert_allclose(alone.scores(features_ND[:, :6]), rule.scores(features_ND), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "axis"),
    [("whitening_DD", 0), ("whitening_DD", 1), ("centre_CD", 1), ("background_DD", 0), ("background_D", 0)],
)
def test_arrays_that_do_not_make_one_rule_are_refused(name: str, axis: int) -> None:
    eye_DD, mean_CD = np.eye(D, dtype=np.float32), np.ones((C, D), np.float32)
    arrays = NoveltyRule(eye_DD, mean_CD, eye_DD, mean_CD[0], 0.0).to_arrays()
    assert NoveltyRule.from_arrays(arrays).dimension == D
    with pytest.raises(ValueError, match="not of one length"):
        NoveltyRule.from_arrays(arrays | {name: np.delete(arrays[name], 0, axis)})


def test_the_auroc_counts_pairs_and_ties_half() -> None:
    known_N, unknown_M = np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0])
    pairs = [(k > u) + 0.5 * (k == u) for k in known_N for u in unknown_M]
    assert auroc(known_N, unknown_M) == pytest.approx(np.mean(pairs))
