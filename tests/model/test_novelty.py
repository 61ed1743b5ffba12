"""Images far from every class are not `known`, others are, at the rate that was asked for."""

from dataclasses import dataclass

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


@dataclass(frozen=True, eq=False)
class Chosen:
    """The rule that is chosen for features of this world, fitted on some and held against others."""

    relative: bool
    fitted_ND: np.ndarray
    fitted_columns_N: np.ndarray
    held_ND: np.ndarray
    held_columns_N: np.ndarray
    rule: NoveltyRule


def lopsided(counts: list[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Almost all images may be of one class: the Gaussian of all is then that of this class, and hides it."""
    columns_N = np.repeat(np.arange(C), counts)
    noise_ND = np.random.default_rng(seed).standard_normal((len(columns_N), D))
    centre_CD = np.random.default_rng(1).standard_normal((C, D)) * 1.5
    return (centre_CD[columns_N] + noise_ND).astype(np.float32), columns_N


def cloudy(counts: list[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Some images lie far out, in directions that tell no class from another."""
    columns_N = np.repeat(np.arange(C), counts)
    rng = np.random.default_rng(seed)
    features_ND = rng.standard_normal((len(columns_N), D))
    features_ND[:, 4:] *= 3 * np.exp(rng.standard_normal((len(columns_N), 1)))
    features_ND[:, :4] += (np.random.default_rng(1).standard_normal((C, 4)) * 3)[columns_N]
    return features_ND.astype(np.float32), columns_N


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "relative"])
def chosen(request: pytest.FixtureRequest) -> Chosen:
    fitted = cloudy([40] * C, 2) if request.param else lopsided([2_000, 5, 5, 5, 5], 2)
    held = (cloudy if request.param else lopsided)([200] * C, 3)
    return Chosen(request.param, *fitted, *held, fit_novelty(ClassStatistics.from_features(*fitted, C), *held))


def shrunk(covariance_DD: np.ndarray, freedom: int) -> np.ndarray:
    """Oracle approximating shrinkage (method.md 8.2)."""
    variance, energy = np.trace(covariance_DD) / D, (covariance_DD**2).sum() / D**2
    part = min(1.0, (energy + variance**2) / ((freedom + 1) * (energy - variance**2 / D)))
    return (1 - part) * covariance_DD + part * variance * np.eye(D)


def mahalanobis(features_ND: np.ndarray, mean_D: np.ndarray, covariance_DD: np.ndarray) -> np.ndarray:
    gap_ND = features_ND.astype(np.float64) - mean_D
    return (gap_ND * np.linalg.solve(covariance_DD, gap_ND.T).T).sum(axis=1)


def restated(of: Chosen, relative: bool) -> np.ndarray:
    """MD_c, or MD_c − MD_0 (method.md 8.7), of the held-out features, from the fitted ones themselves."""
    fitted_ND = of.fitted_ND.astype(np.float64)
    classes = [fitted_ND[of.fitted_columns_N == c] for c in range(C)]
    freedom = len(fitted_ND) - C
    within_DD = sum((len(one) - 1) * np.cov(one, rowvar=False) for one in classes) / freedom
    distances = [mahalanobis(of.held_ND, one.mean(axis=0), shrunk(within_DD, freedom)) for one in classes]
    if relative:
        overall_DD = shrunk(np.cov(fitted_ND, rowvar=False), len(fitted_ND) - 1)
        background_N = mahalanobis(of.held_ND, fitted_ND.mean(axis=0), overall_DD)
        distances = [distance_N - background_N for distance_N in distances]
    return np.stack(distances, axis=1)


def left_out(distance_NC: np.ndarray, columns_N: np.ndarray) -> float:
    """How often an image lies nearer to what is known than another does whose own class is left out."""
    others_NC = np.where(np.arange(C) == columns_N[:, None], np.inf, distance_NC)
    return float((distance_NC.min(axis=1)[:, None] < others_NC.min(axis=1)).mean())


def test_distances_are_mahalanobis_distances_relative_to_all_features_or_not(chosen: Chosen) -> None:
    distance_NC = restated(chosen, chosen.relative)
    np.testing.assert_allclose(chosen.rule.distances(chosen.held_ND), distance_NC, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(chosen.rule.scores(chosen.held_ND), -distance_NC.min(axis=1), rtol=1e-3, atol=1e-2)
    assert chosen.rule.known(chosen.held_ND).mean() == pytest.approx(0.95, abs=0.002)


def test_the_form_is_chosen_that_tells_left_out_classes_better(chosen: Chosen) -> None:
    told = {relative: left_out(restated(chosen, relative), chosen.held_columns_N) for relative in (False, True)}
    assert told[chosen.relative] > told[not chosen.relative] + 0.1
    assert chosen.rule.relative == chosen.relative
    found = left_out_auroc(chosen.rule, chosen.held_ND, chosen.held_columns_N)
    assert found == pytest.approx(told[chosen.relative], abs=1e-3)


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


def test_a_stored_rule_answers_bit_for_bit(chosen: Chosen) -> None:
    back = NoveltyRule.from_arrays(chosen.rule.to_arrays())
    np.testing.assert_array_equal(back.scores(chosen.held_ND), chosen.rule.scores(chosen.held_ND))
    assert back.threshold == chosen.rule.threshold and back.relative == chosen.relative


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
