"""Old statistics follow the backbone through a map learned on the current task's images."""

import numpy as np
import pytest

from model.drift import IDENTITY, RidgeMap
from model.statistics import ClassStatistics

D = 6


def some(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, D)).astype(np.float32)


def test_the_map_minimises_the_stated_objective() -> None:
    old_ND, new_ND = some(20, 1), some(20, 2)
    strength = 0.3
    ridge = strength * np.trace(old_ND.T @ old_ND) / D

    def objective(matrix_DD: np.ndarray) -> float:
        return float(((old_ND @ matrix_DD - new_ND) ** 2).sum() + ridge * ((matrix_DD - np.eye(D)) ** 2).sum())

    found_DD = RidgeMap.fit(old_ND, new_ND, strength).matrix_DD
    least = objective(found_DD)
    rng = np.random.default_rng(0)
    assert all(objective(found_DD + 1e-2 * rng.standard_normal((D, D))) > least for _ in range(50))


def test_a_linear_move_is_undone() -> None:
    move_DD = np.eye(D) + 0.2 * some(D, 5)
    old_ND = some(500, 1)
    held_ND = some(300, 7)
    moved = RidgeMap.fit(old_ND, (old_ND @ move_DD).astype(np.float32), strength=1e-6).carry(
        ClassStatistics.from_features(held_ND, np.zeros(300, np.int64), 1)
    )
    truth = ClassStatistics.from_features((held_ND @ move_DD).astype(np.float32), np.zeros(300, np.int64), 1)
    np.testing.assert_allclose(moved.mean_CD, truth.mean_CD, atol=1e-4)
    np.testing.assert_allclose(moved.covariance(0), truth.covariance(0), atol=1e-3)


def test_directions_without_images_stay_as_they_are() -> None:
    old_ND = some(40, 1)
    old_ND[:, 3:] = 0
    matrix_DD = RidgeMap.fit(old_ND, 2 * old_ND, strength=0.001).matrix_DD
    np.testing.assert_allclose(matrix_DD[3:, 3:], np.eye(3), atol=1e-6)
    assert (np.diag(matrix_DD)[:3] > 1.9).all()


def test_features_that_did_not_move_give_the_identity() -> None:
    np.testing.assert_allclose(RidgeMap.fit(some(9, 1), some(9, 1)).matrix_DD, np.eye(D), atol=1e-9)
    zeros = np.zeros((3, D), np.float32)
    np.testing.assert_allclose(RidgeMap.fit(zeros, zeros).matrix_DD, np.eye(D))


def test_the_identity_carries_everything_unchanged() -> None:
    statistics = ClassStatistics.from_features(some(9, 1), np.zeros(9, np.int64), 1)
    assert IDENTITY.carry(statistics) is statistics


@pytest.mark.parametrize("old_ND", [np.zeros((0, D)), np.zeros((4, D))])
def test_features_that_do_not_pair_are_refused(old_ND: np.ndarray) -> None:
    with pytest.raises(ValueError, match="do not pair"):
        RidgeMap.fit(old_ND, np.zeros((len(old_ND) and 5, D)))
