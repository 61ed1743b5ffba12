"""Images far from every class are not `known`, others are, at the rate that was asked for."""

from dataclasses import dataclass

import numpy as np
import pytest

from model.scores.novelty import NoveltyRule, auroc, fit_novelty
from model.statistics.class_statistics import ClassStatistics

D, C = 16, 5


def world(count: int, seed: int, classes: range = range(C)) -> tuple[np.ndarray, np.ndarray]:
    centre_CD = np.random.default_rng(1).standard_normal((12, D)) * 3
    columns_N = np.repeat(list(classes), count)
    noise_ND = np.random.default_rng(seed).standard_normal((len(columns_N), D))
    return (centre_CD[columns_N] + noise_ND).astype(np.float32), columns_N


@pytest.fixture(scope="module")
def rule() -> NoveltyRule:
    statistics = ClassStatistics.from_features(*world(40, 2), C)
    return fit_novelty(statistics, world(200, 3)[0], rate=0.9)


def test_known_images_pass_at_the_stated_rate(rule: NoveltyRule) -> None:
    assert rule.known(world(200, 3)[0]).mean() == pytest.approx(0.9, abs=0.01)
    assert rule.known(world(500, 4)[0]).mean() == pytest.approx(0.9, abs=0.04)


def test_images_of_other_classes_are_rejected(rule: NoveltyRule) -> None:
    unknown_ND, _ = world(100, 5, range(6, 12))
    assert rule.known(unknown_ND).mean() < 0.1
    assert auroc(rule.scores(world(100, 6)[0]), rule.scores(unknown_ND)) > 0.95


def shrunk(covariance_DD: np.ndarray, freedom: int) -> np.ndarray:
    """Oracle approximating shrinkage (method.md 8.2)."""
    variance, energy = np.trace(covariance_DD) / len(covariance_DD), (covariance_DD**2).mean()
    part = min(1.0, (energy + variance**2) / ((freedom + 1) * (energy - variance**2 / len(covariance_DD))))
    return (1 - part) * covariance_DD + part * variance * np.eye(len(covariance_DD))


def mahalanobis(features_ND: np.ndarray, mean_D: np.ndarray, covariance_DD: np.ndarray) -> np.ndarray:
    gap_ND = features_ND.astype(np.float64) - mean_D
    return (gap_ND * np.linalg.solve(covariance_DD, gap_ND.T).T).sum(axis=1)


@dataclass(frozen=True, eq=False)
class Restated:
    """Means and covariances of the fitted features, and distances in them (method.md 8.7)."""

    mean_CD: np.ndarray
    within_DD: np.ndarray
    overall_D: np.ndarray
    overall_DD: np.ndarray

    @classmethod
    def of(cls, features_ND: np.ndarray, columns_N: np.ndarray) -> "Restated":
        features_ND = features_ND.astype(np.float64)
        classes = [features_ND[columns_N == c] for c in np.unique(columns_N)]
        freedom = len(features_ND) - len(classes)
        within_DD = sum((len(one) - 1) * np.cov(one, rowvar=False) for one in classes) / freedom
        overall_DD = np.cov(features_ND, rowvar=False)
        return cls(
            np.stack([one.mean(axis=0) for one in classes]),
            shrunk(within_DD, freedom),
            features_ND.mean(axis=0),
            shrunk(overall_DD, len(features_ND) - 1),
        )

    def nearest(self, features_ND: np.ndarray) -> np.ndarray:
        return np.min([mahalanobis(features_ND, mean_D, self.within_DD) for mean_D in self.mean_CD], axis=0)

    def middle(self, features_ND: np.ndarray) -> np.ndarray:
        """To the middle of the classes, however many images each has."""
        return mahalanobis(features_ND, self.mean_CD.mean(axis=0), self.within_DD)


def lopsided(counts: list[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    columns_N = np.repeat(np.arange(C), counts)
    noise_ND = np.random.default_rng(seed).standard_normal((len(columns_N), D))
    centre_CD = np.random.default_rng(1).standard_normal((C, D)) * 1.5
    return (centre_CD[columns_N] + noise_ND).astype(np.float32), columns_N


def spread(values_N: np.ndarray) -> float:
    first, third = np.quantile(values_N, [0.25, 0.75])
    return float(third - first)


@pytest.mark.parametrize("counts", [[40] * C, [400, 5, 30, 5, 60]], ids=["even", "lopsided"])
def test_scores_are_how_much_nearer_a_class_is_than_the_middle_less_what_is_unusual(counts: list[int]) -> None:
    fitted, (held_ND, _), (asked_ND, _) = lopsided(counts, 2), lopsided([200] * C, 3), world(50, 4, range(12))
    rule, restated = fit_novelty(ClassStatistics.from_features(*fitted, C), held_ND), Restated.of(*fitted)
    middle_N = restated.middle(held_ND)
    weight = 0.25 * spread(middle_N - restated.nearest(held_ND)) / spread(middle_N)
    asked_N = restated.middle(asked_ND)
    expected_N = asked_N - restated.nearest(asked_ND) - weight * np.abs(asked_N - np.median(middle_N))
    np.testing.assert_allclose(rule.scores(asked_ND), expected_N, rtol=1e-3, atol=0.02)
    assert rule.known(held_ND).mean() == pytest.approx(0.95, abs=0.002)


def few(count: int, seed: int, classes: range) -> np.ndarray:
    """Features of more numbers than there are images, whose classes differ in a few directions of them."""
    wide, rng = 96, np.random.default_rng(seed)
    centre_CD = np.random.default_rng(8).standard_normal((12, wide)) * 1.2
    noise_ND = rng.standard_normal((count * len(classes), wide)) * np.exp(
        rng.standard_normal((count * len(classes), 1)) / 4
    )
    return (np.repeat(centre_CD[list(classes)], count, axis=0) + noise_ND).astype(np.float32)


@pytest.mark.parametrize("classes", [2, 5])
def test_few_classes_of_few_images_are_told_from_others(classes: int) -> None:
    """The distance relative to one Gaussian of all features, which there was before, is no better than chance here."""
    fitted = few(20, 2, range(classes)), np.repeat(np.arange(classes), 20)
    rule = fit_novelty(ClassStatistics.from_features(*fitted, classes), np.zeros((0, 96), np.float32))
    known_ND, unknown_ND = few(100, 3, range(classes)), few(50, 5, range(6, 12))
    far_ND = 10 * np.random.default_rng(6).standard_normal((200, 96)).astype(np.float32)
    for other_ND in (unknown_ND, far_ND):
        assert auroc(rule.scores(known_ND), rule.scores(other_ND)) > 0.8
    restated = Restated.of(*fitted)

    def relative(features_ND: np.ndarray) -> np.ndarray:
        gone_N = mahalanobis(features_ND, restated.overall_D, restated.overall_DD)
        return np.asarray(gone_N - restated.nearest(features_ND))

    assert auroc(relative(known_ND), relative(unknown_ND)) < 0.6


@pytest.mark.parametrize("relative", [False, True], ids=["plain", "relative"])
def test_rules_of_older_code_answer_as_they_did(relative: bool) -> None:
    fitted, asked_ND = world(40, 2), world(20, 3, range(12))[0]
    restated = Restated.of(*fitted)

    def whitening(covariance_DD: np.ndarray) -> np.ndarray:
        return np.linalg.inv(np.linalg.cholesky(covariance_DD)).T.astype(np.float32)

    whitening_DD, background_DD = whitening(restated.within_DD), whitening(restated.overall_DD)
    arrays = {
        "whitening_DD": whitening_DD,
        "centre_CD": restated.mean_CD @ whitening_DD,
        "background_DD": background_DD if relative else background_DD[:0],
        "background_D": restated.overall_D @ background_DD if relative else restated.overall_D[:0],
        "threshold": np.array([-3.0]),
    }
    rule, expected_N = NoveltyRule.from_arrays(arrays), -restated.nearest(asked_ND)
    if relative:
        expected_N += mahalanobis(asked_ND, restated.overall_D, restated.overall_DD)
    np.testing.assert_allclose(rule.scores(asked_ND), expected_N, rtol=1e-3, atol=1e-2)
    again = NoveltyRule.from_arrays(rule.to_arrays())
    np.testing.assert_array_equal(again.scores(asked_ND), rule.scores(asked_ND))
    assert again.threshold == rule.threshold == -3.0


def test_without_held_out_images_the_statistics_are_sampled() -> None:
    statistics = ClassStatistics.from_features(*world(40, 2), C)
    rule = fit_novelty(statistics, np.zeros((0, D), np.float32))
    assert 0.8 < rule.known(world(200, 4)[0]).mean() <= 1.0
    again = fit_novelty(statistics, np.zeros((0, D), np.float32))
    assert again.threshold == rule.threshold


def test_one_class_of_one_image_still_makes_a_rule() -> None:
    features_1D, _ = world(1, 2, range(1))
    rule = fit_novelty(ClassStatistics.from_features(features_1D, np.zeros(1, np.int64), 1), features_1D)
    assert rule.known(features_1D).tolist() == [True]
    assert rule.known(features_1D + 100).tolist() == [False]


def test_no_class_makes_no_rule() -> None:
    with pytest.raises(ValueError, match="no class"):
        fit_novelty(ClassStatistics.empty(D), np.zeros((0, D), np.float32))


def test_a_stored_rule_answers_bit_for_bit(rule: NoveltyRule) -> None:
    back, asked_ND = NoveltyRule.from_arrays(rule.to_arrays()), world(20, 3, range(12))[0]
    np.testing.assert_array_equal(back.scores(asked_ND), rule.scores(asked_ND))
    assert back.threshold == rule.threshold and back.weight == rule.weight > 0


def test_a_rule_on_the_first_numbers_reads_no_others() -> None:
    statistics = ClassStatistics.from_features(*world(40, 2), C)
    features_ND, _ = world(200, 3)
    rule = fit_novelty(statistics.leading(6), features_ND, rate=0.9)
    others_ND = np.concatenate([features_ND[:, :6], 100 + 9 * world(200, 7)[0][:, 6:]], axis=1)
    np.testing.assert_array_equal(rule.scores(others_ND), rule.scores(features_ND))
    assert rule.dimension == 6 and rule.known(features_ND).mean() == pytest.approx(0.9, abs=0.01)
    alone = fit_novelty(statistics.leading(6), np.ascontiguousarray(features_ND[:, :6]), rate=0.9)
    np.testing.assert_allclose(alone.scores(features_ND[:, :6]), rule.scores(features_ND), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("whitening_DD", 0),
        ("whitening_DD", 1),
        ("centre_CD", 1),
        ("background_DD", 0),
        ("background_D", 0),
        ("unusual", 0),
    ],
)
def test_arrays_that_do_not_make_one_rule_are_refused(name: str, axis: int) -> None:
    eye_DD, mean_CD = np.eye(D, dtype=np.float32), np.ones((C, D), np.float32)
    arrays = NoveltyRule(eye_DD, mean_CD, mean_CD[0], 0.0, middle_whitening_KK=eye_DD).to_arrays()
    assert NoveltyRule.from_arrays(arrays).dimension == D
    with pytest.raises(ValueError, match="not of one length"):
        NoveltyRule.from_arrays(arrays | {name: np.delete(arrays[name], 0, axis)})


def test_the_auroc_counts_pairs_and_ties_half() -> None:
    known_N, unknown_M = np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0])
    pairs = [(k > u) + 0.5 * (k == u) for k in known_N for u in unknown_M]
    assert auroc(known_N, unknown_M) == pytest.approx(np.mean(pairs))
