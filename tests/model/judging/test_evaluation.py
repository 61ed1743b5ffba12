"""Figures of a sequence of versions, against small examples worked out by hand."""

import numpy as np
import pytest

from model.judging.evaluation import accuracy_matrix, paired_standard_error, wilson_upper

RATES, IMAGES = [[0.9], [0.6, 0.9], [0.7, 0.5, 1.0]], [10, 20, 30]


def test_the_last_accuracy_weighs_images_and_not_tasks() -> None:
    matrix = accuracy_matrix(RATES, IMAGES)
    assert matrix.last == pytest.approx(47 / 60)
    assert matrix.task_mean == pytest.approx((0.7 + 0.5 + 1.0) / 3)


def test_the_incremental_accuracy_is_the_mean_over_tasks() -> None:
    assert accuracy_matrix(RATES, IMAGES).incremental == pytest.approx((9 / 10 + 24 / 30 + 47 / 60) / 3)


def test_forgetting_counts_from_the_best_and_transfer_from_the_first() -> None:
    matrix = accuracy_matrix(RATES, IMAGES)
    assert matrix.forgetting == pytest.approx(((0.9 - 0.7) + (0.9 - 0.5)) / 2)
    assert matrix.backward_transfer == pytest.approx(((0.7 - 0.9) + (0.5 - 0.9)) / 2)


def test_figures_of_each_task_come_to_those_of_all() -> None:
    matrix = accuracy_matrix([[0.9], [0.6, 0.4], [0.7, 0.5, 1.0]], IMAGES)
    assert matrix.forgetting_T == pytest.approx([0.9 - 0.7, 0.0])
    assert matrix.backward_transfer_T == pytest.approx([0.7 - 0.9, 0.5 - 0.4])
    assert matrix.forgetting == pytest.approx(matrix.forgetting_T.mean())
    assert matrix.backward_transfer == pytest.approx(matrix.backward_transfer_T.mean())
    assert matrix.incremental_T == pytest.approx([0.9, (0.9 + 14 / 30) / 2, (0.9 + 14 / 30 + 47 / 60) / 3])
    assert matrix.incremental_T[-1] == pytest.approx(matrix.incremental)
    alone = accuracy_matrix(RATES[:1], IMAGES[:1])
    assert len(alone.forgetting_T) == len(alone.backward_transfer_T) == 0


def test_one_task_can_forget_nothing() -> None:
    matrix = accuracy_matrix(RATES[:1], IMAGES[:1])
    assert matrix.forgetting is None and matrix.backward_transfer is None
    assert matrix.last == pytest.approx(0.9)


def test_wilsons_bound_holds_the_rate_that_it_is_the_root_of() -> None:
    z = 1.6448536269514722
    for correct, images in [(0, 20), (3, 20), (10, 25), (25, 25)]:
        rate, bound = correct / images, wilson_upper(correct, images)
        assert (rate - bound) ** 2 == pytest.approx(z * z * bound * (1 - bound) / images, abs=1e-12)
        assert rate <= bound + 1e-12 and bound <= 1 + 1e-12


def test_a_rate_of_no_images_has_no_bound() -> None:
    with pytest.raises(ValueError, match="no images"):
        wilson_upper(0, 0)


def test_the_paired_error_is_that_of_the_differences() -> None:
    now_N, then_N = np.array([1, 1, 0, 0, 1], bool), np.array([1, 0, 0, 1, 1], bool)
    difference = np.array([0, 1, 0, -1, 0])
    assert paired_standard_error(now_N, then_N) == pytest.approx(np.sqrt(difference.var(ddof=1) / 5))
    assert paired_standard_error(now_N, now_N) == 0
    assert paired_standard_error(now_N[:1], then_N[:1]) == 0


def test_answers_to_different_images_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="against"):
        paired_standard_error(np.ones(2, bool), np.ones(3, bool))
