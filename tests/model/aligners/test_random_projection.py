"""RanPAC: sums and solutions against the plain formulas, task by task and at once."""

import numpy as np
import pytest
import torch

from model.aligners import RandomProjectionAligner
from model.aligners.random_projection import STRENGTHS, Projection, best_strength, solved
from model.heads.head import Head
from model.method import AlignmentTask, filed
from model.statistics.class_statistics import ClassStatistics

D, SIZE = 6, 40


def features(columns_N: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).standard_normal((5, D)) * 2
    return (centres[columns_N] + rng.standard_normal((len(columns_N), D))).astype(np.float32)


def task(columns_N: np.ndarray, block: int, kept: dict[str, torch.Tensor], classes: int) -> AlignmentTask:
    features_ND = features(columns_N, block)
    head = Head(np.zeros((classes, D), np.float32), np.zeros(classes, np.float32))
    statistics = ClassStatistics.from_features(features_ND, columns_N, classes)
    return AlignmentTask(
        head, statistics, np.ones(classes, np.int64), block, features_ND, columns_N, kept, seed=3 + block
    )


def test_sums_over_tasks_are_the_sums_over_all_images() -> None:
    aligner = RandomProjectionAligner(SIZE)
    first_N, second_N = np.repeat([0, 1], 30), np.repeat([2, 3, 4], 20)
    once = aligner.align(task(first_N, 1, {}, 2))
    twice = aligner.align(task(second_N, 2, filed("aligner", once.kept), 5))
    assert int(twice.kept["seed"]) == int(once.kept["seed"]) == 4
    all_ND = np.concatenate([features(first_N, 1), features(second_N, 2)])
    columns_N = np.concatenate([first_N, second_N])
    hidden = np.maximum(all_ND @ Projection.drawn(D, SIZE, 4).matrix_DM, 0).astype(np.float64)
    np.testing.assert_allclose(twice.kept["gram_MM"].numpy(), hidden.T @ hidden, rtol=1e-4)
    np.testing.assert_allclose(twice.kept["cross_MC"].numpy(), hidden.T @ np.eye(5)[columns_N], rtol=1e-4)
    classifier = aligner.classifier(twice.head, twice.kept)
    test_N = np.repeat(np.arange(5), 40)
    assert (classifier.logits(features(test_N, 9)).argmax(axis=1) == test_N).mean() > 0.8
    assert not aligner.is_in_head
    assert sum(tensor.numel() for tensor in twice.kept.values()) == SIZE * SIZE + 2 * SIZE * 5 + 1


def test_the_strength_is_found_on_images_of_all_classes_though_they_come_class_by_class() -> None:
    columns_N = np.repeat(np.arange(5), 12)
    asked = task(columns_N, 1, {}, 5)
    found = RandomProjectionAligner(SIZE).align(asked).kept
    hidden, target = Projection.drawn(D, SIZE, asked.seed)(asked.features_ND), np.eye(5, dtype=np.float32)[columns_N]
    order_N = np.random.default_rng([asked.seed, asked.block]).permutation(len(hidden))
    mixed, sorted_ = best_strength(hidden[order_N], target[order_N]), best_strength(hidden, target)
    assert mixed != sorted_
    expected = solved(hidden.T @ hidden, hidden.T @ target, mixed)
    np.testing.assert_allclose(found["weight_MC"].numpy(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rows", [25, 200], ids=["fewer images than projections", "more"])
def test_the_strength_is_the_best_of_all_on_the_last_fifth(rows: int) -> None:
    rng = np.random.default_rng(rows)
    hidden = np.maximum(rng.standard_normal((rows, SIZE)), 0)
    target = np.eye(3)[rng.integers(0, 3, rows)] + 0.1 * (hidden[:, :3] > 1)
    cut = int(0.8 * rows)
    errors = []
    for strength in STRENGTHS:
        gram = hidden[:cut].T @ hidden[:cut] + strength * np.eye(SIZE)
        weight = np.linalg.solve(gram, hidden[:cut].T @ target[:cut])
        errors.append(float(np.square(hidden[cut:] @ weight - target[cut:]).mean()))
    assert best_strength(hidden.astype(np.float32), target.astype(np.float32)) == STRENGTHS[int(np.argmin(errors))]
    assert len(STRENGTHS) == 17 and (STRENGTHS[0], STRENGTHS[-1]) == (1e-8, 1e8)


def test_the_solution_is_that_of_the_ridged_system_and_a_singular_one_is_solved_too() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((10, SIZE)).astype(np.float32)
    gram, cross = hidden.T @ hidden, hidden.T @ np.eye(2, dtype=np.float32)[rng.integers(0, 2, 10)]
    wanted = np.linalg.solve(gram.astype(np.float64) + 10 * np.eye(SIZE), cross)
    np.testing.assert_allclose(solved(gram, cross, 10.0), wanted, rtol=1e-4, atol=1e-6)
    assert np.isfinite(solved(gram, cross, 1e-8)).all()


def test_one_image_takes_the_middle_of_the_range() -> None:
    assert best_strength(np.ones((1, SIZE), np.float32), np.ones((1, 1), np.float32)) == 1.0
