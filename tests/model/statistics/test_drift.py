"""Old statistics follow the backbone through a map learned on the current task's images."""

import numpy as np
import pytest

from model.statistics.class_statistics import ClassStatistics
from model.statistics.drift import FOLDS, IDENTITY, STRENGTH, STRENGTHS, RidgeDrift, RidgeMap, left_out_errors

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


def test_the_error_is_what_the_other_classes_maps_leave_of_each_movement() -> None:
    old_ND, new_ND = some(30, 1), some(30, 2)
    columns_N = np.repeat([4, 7, 9], 10)
    left = []
    for column in (4, 7, 9):
        mine_N = columns_N == column
        matrix_DD = RidgeMap.fit(old_ND[~mine_N], new_ND[~mine_N]).matrix_DD
        left.append(new_ND[mine_N].mean(axis=0) - old_ND[mine_N].mean(axis=0) @ matrix_DD)
    (found,) = left_out_errors(old_ND, new_ND, columns_N, [STRENGTH])
    np.testing.assert_allclose(found, np.sqrt(np.square(left).mean()), rtol=1e-5)


def test_many_classes_are_left_out_a_part_at_a_time() -> None:
    columns_N = np.repeat(np.arange(2 * FOLDS + 3), 4)
    old_ND, new_ND = some(len(columns_N), 1), some(len(columns_N), 2)
    left = []
    for fold in np.array_split(np.arange(2 * FOLDS + 3), FOLDS):
        own_N = np.isin(columns_N, fold)
        move = RidgeMap.fit(old_ND[~own_N], new_ND[~own_N], STRENGTH)
        for column in fold:
            before_D, after_D = (one_ND[columns_N == column].mean(axis=0) for one_ND in (old_ND, new_ND))
            left.append(after_D - before_D @ move.matrix_DD)
    (found,) = left_out_errors(old_ND, new_ND, columns_N, [STRENGTH])
    np.testing.assert_allclose(found, np.sqrt(np.square(left).mean()), rtol=1e-4)


def test_a_single_class_tells_of_its_whole_movement() -> None:
    old_ND = some(8, 1)
    assert left_out_errors(old_ND, old_ND + 2, np.zeros(8, np.int64), [1, 3]) == pytest.approx([2, 2], rel=1e-5)


@pytest.mark.parametrize(("dimension", "count"), [(192, 500), (384, 450), (768, 385)])
def test_a_single_class_of_many_images_tells_of_its_whole_movement(dimension: int, count: int) -> None:
    old_ND = np.random.default_rng(1).standard_normal((count, dimension)).astype(np.float32)
    columns_N = np.zeros(count, np.int64)
    found = RidgeDrift().fit(old_ND, old_ND + 2, columns_N)
    assert isinstance(found, RidgeMap) and found.error == pytest.approx(2, rel=1e-4)


def test_errors_of_maps_one_after_the_other_add_as_independent_ones() -> None:
    statistics = ClassStatistics.from_features(some(9, 1), np.zeros(9, np.int64), 2)
    carried = RidgeMap(np.eye(D), 3.0).carry(RidgeMap(np.eye(D), 4.0).carry(statistics))
    np.testing.assert_allclose(carried.drift_error_C, [5, 0])


def test_what_is_drawn_of_a_carried_class_is_as_wide_as_its_images_and_its_error() -> None:
    statistics = RidgeMap(np.eye(D), 2.0).carry(ClassStatistics.from_features(some(50, 1), np.zeros(50, np.int64), 1))
    drawn_ND, _ = statistics.sample(40_000, np.random.default_rng(0), ridge=0.0)
    wanted_DD = statistics.covariance(0) + 4 * np.eye(D)
    np.testing.assert_allclose(np.cov(drawn_ND.T), wanted_DD, atol=0.12)


def test_a_map_that_fits_its_own_images_only_says_so() -> None:
    """Two classes that move apart in ways that neither tells of the other."""
    columns_N = np.repeat([0, 1], 20)
    old_ND = np.concatenate([some(20, 1), some(20, 2)])
    new_ND = old_ND.copy()
    new_ND[:20] += 5
    fitted = RidgeDrift().fit(old_ND, new_ND, columns_N)
    assert isinstance(fitted, RidgeMap) and fitted.error > 1
    alike = RidgeDrift().fit(old_ND, (old_ND @ (1.5 * np.eye(D))).astype(np.float32), columns_N)
    assert isinstance(alike, RidgeMap) and alike.error < 0.3


def test_the_strength_is_the_one_that_moves_left_out_classes_best() -> None:
    rng = np.random.default_rng(0)
    classes, moves_DD = np.repeat(np.arange(4), 60), np.eye(D) + 0.3 * some(D, 5)
    old_ND = (3 * some(4, 3))[classes] + some(240, 1)
    told = (old_ND @ moves_DD).astype(np.float32)
    noisy = old_ND + (2 * some(4, 9))[classes] + rng.standard_normal((240, D)).astype(np.float32)
    chosen = []
    for new_ND in (told, noisy):
        errors = dict(zip(STRENGTHS, left_out_errors(old_ND, new_ND, classes, STRENGTHS), strict=True))
        chosen.append(min(errors, key=lambda one: errors[one]))
        found = RidgeDrift().fit(old_ND, new_ND, classes)
        assert isinstance(found, RidgeMap) and found.error == errors[chosen[-1]]
        np.testing.assert_array_equal(found.matrix_DD, RidgeMap.fit(old_ND, new_ND, chosen[-1]).matrix_DD)
    assert chosen[0] == STRENGTHS[0] < chosen[1]


def test_where_nothing_tells_strengths_apart_the_first_is_taken() -> None:
    old_ND, alone_N = some(8, 1), np.zeros(8, np.int64)
    found = RidgeDrift().fit(old_ND, old_ND + 2, alone_N)
    assert isinstance(found, RidgeMap)
    np.testing.assert_array_equal(found.matrix_DD, RidgeMap.fit(old_ND, old_ND + 2, STRENGTHS[0]).matrix_DD)
