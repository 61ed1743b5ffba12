"""Prototypes in sub-spaces, trained on: what is remembered of a class where it was seen, and carried elsewhere."""

import numpy as np
import pytest
import torch

from model.aligners import SubSpaceAligner, SubSpaceGaussianAligner
from model.aligners.sub_space_gaussian import KEPT_DIRECTIONS
from model.aligners.sub_spaces import normalised
from model.heads.head import Head
from model.method import Aligned, AlignmentTask, filed
from model.statistics.class_statistics import ClassStatistics
from model.statistics.drift import RidgeDrift, RidgeMap

D = 6
EASE, APER = SubSpaceGaussianAligner(SubSpaceAligner()), SubSpaceGaussianAligner(SubSpaceAligner(together=True))


def after(
    last: Aligned | None,
    aligner: SubSpaceGaussianAligner,
    features_NE: np.ndarray,
    columns_N: np.ndarray,
    *,
    block: int,
) -> Aligned:
    """The aligner's answer to a block of these features; every class is of the block that brought it."""
    known_C = np.zeros(0, np.int64) if last is None else last.kept["counts"].numpy()
    block_C = np.zeros(0, np.int64) if last is None else last.kept["blocks"].numpy()
    classes = max(len(known_C), int(columns_N.max()) + 1)
    count_C = np.pad(known_C, (0, classes - len(known_C))) + np.bincount(columns_N, minlength=classes)
    blocks_C = np.pad(block_C, (0, classes - len(block_C)), constant_values=block)
    blocks_C[np.unique(columns_N)] = block
    plain = ClassStatistics(
        count_C, np.ones((classes, D), np.float32), (np.zeros((0, D)),) * classes, np.zeros(classes, np.float32)
    )
    head = Head(np.zeros((classes, D)), np.zeros(classes))
    kept = {} if last is None else filed("aligner", last.kept)
    made = aligner.align(AlignmentTask(head, plain, blocks_C, block, features_NE, columns_N, kept, 0))
    told = {"counts": torch.from_numpy(count_C), "blocks": torch.from_numpy(blocks_C)}
    return Aligned(made.head, {**made.kept, **told})


def drawn(mean_CE: np.ndarray, root_EE: np.ndarray, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of Gaussians about these means, and their classes."""
    columns_N = np.repeat(np.arange(len(mean_CE)), per_class)
    noise_NE = np.random.default_rng(seed).standard_normal((len(columns_N), len(root_EE)))
    return (mean_CE[columns_N] + noise_NE @ root_EE).astype(np.float32), columns_N


def random_task(classes: list[int], spaces: int, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    columns_N = np.repeat(classes, per_class)
    return (2 + rng.standard_normal((len(columns_N), spaces * D))).astype(np.float32), columns_N


FIRST, SECOND = random_task([0, 1], 2, 9, 0), random_task([2, 3], 3, 7, 1)
ONE = after(None, EASE, *FIRST, block=1)
TWO = after(ONE, EASE, *SECOND, block=2)


def remembered(made: Aligned) -> ClassStatistics:
    """The Gaussians that are kept."""
    factors = tuple(factor_RE.numpy() for factor_RE in made.kept["factor_CRE"])
    errors_C = np.zeros(len(factors), np.float32)
    return ClassStatistics(made.kept["counts"].numpy(), made.kept["mean_CE"].numpy(), factors, errors_C)


def test_after_the_first_task_the_prototypes_answer() -> None:
    features_NE, _ = FIRST
    answers_NC = EASE.classifier(ONE.head, ONE.kept).logits(features_NE)
    np.testing.assert_array_equal(answers_NC, SubSpaceAligner().classifier(ONE.head, ONE.kept).logits(features_NE))


def test_later_heads_are_trained_from_the_prototypes_and_none_is_trained_twice() -> None:
    features_NE, _ = SECOND
    answers_NC = EASE.classifier(TWO.head, TWO.kept).logits(features_NE)
    assert not np.allclose(answers_NC, SubSpaceAligner().classifier(TWO.head, TWO.kept).logits(features_NE), atol=0.05)
    kept = {name: tensor for name, tensor in ONE.kept.items() if name not in ("weight_CE", "bias_C")}
    again = after(Aligned(ONE.head, kept), EASE, *SECOND, block=2)
    torch.testing.assert_close(again.kept["weight_CE"], TWO.kept["weight_CE"], rtol=0, atol=0)


def assert_is_of(statistics: ClassStatistics, column: int, seen_NE: np.ndarray) -> None:
    """Mean and covariance of these features, in as many numbers as they have."""
    width = seen_NE.shape[1]
    np.testing.assert_allclose(statistics.mean_CD[column, :width], seen_NE.mean(axis=0), rtol=1e-4, atol=1e-5)
    covariance_DD = statistics.covariance(column)[:width, :width]
    np.testing.assert_allclose(covariance_DD, np.cov(seen_NE.T), rtol=1e-3, atol=1e-4)


def test_a_class_is_remembered_where_it_was_seen() -> None:
    first_NE, second_NE = normalised(FIRST[0], D), normalised(SECOND[0], D)
    for column, seen_NE in enumerate([first_NE[:9], first_NE[9:], second_NE[:7], second_NE[7:]]):
        assert_is_of(remembered(TWO), column, seen_NE)


def test_into_a_later_sub_space_it_is_carried_from_the_plain_features_as_the_new_images_are() -> None:
    second_NE, second_N = normalised(SECOND[0], D), SECOND[1]
    drift = RidgeDrift().fit(second_NE[:, :D], second_NE[:, 2 * D :], second_N)
    assert isinstance(drift, RidgeMap)
    before, after = remembered(ONE), remembered(TWO)
    for old in (0, 1):
        np.testing.assert_allclose(
            after.mean_CD[old, 2 * D :], before.mean_CD[old, :D] @ drift.matrix_DD, rtol=1e-4, atol=1e-5
        )
        covariance_EE, before_EE = after.covariance(old), before.covariance(old)
        np.testing.assert_allclose(
            covariance_EE[: 2 * D, 2 * D :], before_EE[:, :D] @ drift.matrix_DD, rtol=1e-3, atol=1e-4
        )
        left_DD = np.cov((second_NE[:, 2 * D :] - second_NE[:, :D] @ drift.matrix_DD).T)
        expected_DD = drift.matrix_DD.T @ before_EE[:D, :D] @ drift.matrix_DD + left_DD
        np.testing.assert_allclose(covariance_EE[2 * D :, 2 * D :], expected_DD, rtol=1e-3, atol=1e-4)


def test_a_class_that_comes_again_is_that_of_all_its_images() -> None:
    again_NE, again_N = random_task([0, 4], 4, 5, 2)
    three = after(TWO, EASE, again_NE, again_N, block=3)
    assert_is_of(
        remembered(three), 0, np.concatenate([normalised(FIRST[0], D)[:9], normalised(again_NE, D)[:5, : 2 * D]])
    )
    np.testing.assert_allclose(remembered(three).mean_CD[1, : 3 * D], remembered(TWO).mean_CD[1], rtol=1e-6)


def test_a_task_without_an_adapter_carries_nothing() -> None:
    three = after(TWO, EASE, *random_task([4], 3, 5, 6), block=3)
    for name in ("mean_CE", "factor_CRE"):
        torch.testing.assert_close(three.kept[name][:4], TWO.kept[name])


def test_what_is_kept_of_a_class_is_as_large_for_many_images_and_has_all_their_variance() -> None:
    few, many = (after(None, EASE, *random_task([0, 1], 12, images, 3), block=1) for images in (2, 300))
    assert few.kept["factor_CRE"].shape == many.kept["factor_CRE"].shape == (2, KEPT_DIRECTIONS, 12 * D)
    seen_NE = normalised(random_task([0, 1], 12, 300, 3)[0], D)[:300]
    assert np.trace(remembered(many).covariance(0)) == pytest.approx(np.trace(np.cov(seen_NE.T)), rel=1e-3)


@pytest.mark.parametrize("aligner", [EASE, APER], ids=["ease", "aper"])
def test_it_tells_classes_apart_that_are_wide_in_one_direction(aligner: SubSpaceGaussianAligner) -> None:
    """Nearest means follow the noise, alignment what does not vary."""
    rng = np.random.default_rng(5)
    mean_CE = 3 + 0.4 * rng.standard_normal((6, 2 * D))
    loud_E = np.outer(rng.standard_normal(2 * D), np.eye(1, 2 * D)[0]).T
    root_EE = 0.08 * np.eye(2 * D) + 1.2 * loud_E
    made: Aligned | None = None
    for block in (1, 2):
        chosen = slice(3 * block - 3, 3 * block)
        features_NE, columns_N = drawn(mean_CE[chosen], root_EE, 60, block)
        made = after(made, aligner, features_NE, columns_N + 3 * block - 3, block=block)
    assert made is not None
    test_NE, test_N = drawn(mean_CE, root_EE, 200, 9)
    right = {
        one: (one.classifier(made.head, made.kept).logits(test_NE).argmax(axis=1) == test_N).mean()
        for one in (aligner, aligner.prototypes)
    }
    assert right[aligner] > right[aligner.prototypes] + 0.1


def test_classes_of_many_tasks_are_told_apart_in_sub_spaces_that_came_after_them() -> None:
    """Each adapter turns the plain features a little: what was seen of an old class says where it lies there."""
    rng = np.random.default_rng(7)
    mean_CD, root_DD = 2 + 0.5 * rng.standard_normal((12, D)), 0.5 * rng.standard_normal((D, D)) / np.sqrt(D)
    turn_SDD = [np.eye(D), *(np.eye(D) + 0.5 * rng.standard_normal((4, D, D)) / np.sqrt(D))]

    def side_by_side(plain_ND: np.ndarray, spaces: int) -> np.ndarray:
        return np.concatenate([plain_ND @ turn_DD for turn_DD in turn_SDD[:spaces]], axis=1).astype(np.float32)

    made: Aligned | None = None
    for block in range(1, 5):
        plain_ND, columns_N = drawn(mean_CD[3 * block - 3 : 3 * block], root_DD, 40, block)
        made = after(made, EASE, side_by_side(plain_ND, block + 1), columns_N + 3 * block - 3, block=block)
    assert made is not None
    test_ND, test_N = drawn(mean_CD, root_DD, 200, 9)
    answers = {one: one.classifier(made.head, made.kept) for one in (EASE, EASE.prototypes)}
    right = {one: (answer.logits(side_by_side(test_ND, 5)).argmax(axis=1) == test_N) for one, answer in answers.items()}
    old_N = test_N < 9
    assert right[EASE].mean() > right[EASE.prototypes].mean() + 0.1
    assert right[EASE][old_N].mean() > right[EASE.prototypes][old_N].mean() + 0.1
