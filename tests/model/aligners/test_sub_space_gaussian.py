"""Prototypes in sub-spaces, trained on: what is remembered of a class where it was seen, and its stand-in elsewhere."""

import numpy as np
import pytest
import torch

from model.aligners import SubSpaceAligner, SubSpaceGaussianAligner
from model.aligners.sub_space_gaussian import KEPT_DIRECTIONS, SHARED_DIRECTIONS, completed
from model.aligners.sub_spaces import complement, normalised
from model.heads.head import Head
from model.method import Aligned, AlignmentTask, filed
from model.statistics.class_statistics import ClassStatistics
from model.stopping import unchecked

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


def test_a_class_is_remembered_where_it_was_seen() -> None:
    first_NE, second_NE = normalised(FIRST[0], D), normalised(SECOND[0], D)
    expected = [first_NE[:9], first_NE[9:], second_NE[:7], second_NE[7:]]
    statistics = remembered(TWO)
    for column, seen_NE in enumerate(expected):
        width = seen_NE.shape[1]
        np.testing.assert_allclose(statistics.mean_CD[column, :width], seen_NE.mean(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            statistics.covariance(column)[:width, :width], np.cov(seen_NE.T), rtol=1e-3, atol=1e-4
        )
        assert not statistics.mean_CD[column, width:].any() and not statistics.covariance(column)[width:].any()


def test_where_it_was_not_seen_a_class_has_a_mean_like_its_prototype_and_the_spread_of_those_that_were() -> None:
    statistics = remembered(TWO)
    full = completed(statistics, TWO.kept["own_C"].numpy(), D, unchecked)
    mean_CSD = statistics.mean_CD.reshape(4, 3, D).astype(np.float64)
    shared_DD = statistics.rows(np.array([2, 3])).pooled_covariance()[2 * D :, 2 * D :]
    for old in (0, 1):
        made_D = complement(mean_CSD[old, 1].astype(np.float32), mean_CSD[2:, 1], mean_CSD[2:, 2])
        np.testing.assert_allclose(full.mean_CD[old, 2 * D :], made_D, rtol=1e-4)
        covariance_EE = full.covariance(old)
        np.testing.assert_allclose(covariance_EE[2 * D :, 2 * D :], shared_DD, rtol=1e-3, atol=1e-4)
        assert not covariance_EE[2 * D :, : 2 * D].any()
    for new in (2, 3):
        np.testing.assert_array_equal(full.mean_CD[new], statistics.mean_CD[new])
        np.testing.assert_array_equal(full.factors[new], statistics.factors[new])


def test_a_class_that_comes_again_is_that_of_all_its_images_and_of_the_new_ones_in_new_sub_spaces() -> None:
    again_NE, again_N = random_task([0, 4], 4, 5, 2)
    three = after(TWO, EASE, again_NE, again_N, block=3)
    seen_NE = np.concatenate([normalised(FIRST[0], D)[:9], normalised(again_NE, D)[:5, : 2 * D]])
    statistics = remembered(three)
    np.testing.assert_allclose(statistics.mean_CD[0, : 2 * D], seen_NE.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(statistics.covariance(0)[: 2 * D, : 2 * D], np.cov(seen_NE.T), rtol=1e-3, atol=1e-4)
    new_NE = normalised(again_NE, D)[:5, 2 * D :]
    np.testing.assert_allclose(statistics.mean_CD[0, 2 * D :], new_NE.mean(axis=0), rtol=1e-4, atol=1e-5)
    variance = np.trace(statistics.covariance(0)[2 * D :, 2 * D :])
    assert variance == pytest.approx(np.trace(np.cov(new_NE.T)) * (8 + 4) / 13, rel=1e-3)
    np.testing.assert_allclose(statistics.mean_CD[1], np.pad(remembered(TWO).mean_CD[1], (0, D)), rtol=1e-6)


def test_what_is_kept_of_a_class_is_as_large_for_many_images_and_has_all_their_variance() -> None:
    few, many = (after(None, EASE, *random_task([0, 1], 12, images, 3), block=1) for images in (2, 300))
    assert few.kept["factor_CRE"].shape == many.kept["factor_CRE"].shape == (2, KEPT_DIRECTIONS, 12 * D)
    seen_NE = normalised(random_task([0, 1], 12, 300, 3)[0], D)[:300]
    assert np.trace(remembered(many).covariance(0)) == pytest.approx(np.trace(np.cov(seen_NE.T)), rel=1e-3)


def test_the_shared_spread_has_few_directions_and_all_of_the_variance() -> None:
    wide, rng = 2 * SHARED_DIRECTIONS, np.random.default_rng(4)
    factors = (np.zeros((0, 2 * wide), np.float32), rng.standard_normal((9 * wide, 2 * wide)).astype(np.float32))
    mean_CE = rng.standard_normal((2, 2 * wide)).astype(np.float32)
    statistics = ClassStatistics(np.array([3, 500]), mean_CE, factors, np.zeros(2, np.float32))
    full = completed(statistics, np.array([0, 1]), wide, unchecked)
    assert full.factors[0].shape == (SHARED_DIRECTIONS, 2 * wide)
    expected = np.trace(statistics.covariance(1)[wide:, wide:])
    assert np.trace(full.covariance(0)) == pytest.approx(expected, rel=1e-4)


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
