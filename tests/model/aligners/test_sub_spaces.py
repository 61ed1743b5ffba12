"""EASE's prototypes: measured where there were images, made from similar classes where there were none."""

import numpy as np
import pytest
import torch

from model.aligners import SubSpaceAligner
from model.aligners.sub_spaces import SubSpaceClassifier, complement
from model.heads.head import Head
from model.method import Aligned, AlignmentTask, filed
from model.methods import METHODS, UnknownMethod, method_named
from model.statistics.class_statistics import ClassStatistics
from tests.model.check_method import Lineage

D = 4


def after(last: Aligned | None, features_NE: np.ndarray, columns_N: np.ndarray, counts: list[int]) -> Aligned:
    """The aligner's answer to a task of these features; `counts` are all images so far, class by class."""
    statistics = ClassStatistics(
        np.array(counts),
        np.ones((len(counts), D), np.float32),
        (np.zeros((0, D)),) * len(counts),
        np.zeros(len(counts), np.float32),
    )
    head = Head(np.zeros((len(counts), D)), np.zeros(len(counts)))
    kept = {} if last is None else filed("aligner", last.kept)
    blocks_C = np.ones(len(counts), np.int64)
    return SubSpaceAligner().align(AlignmentTask(head, statistics, blocks_C, 1, features_NE, columns_N, kept, 0))


def drawn(rows: int, spaces: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, spaces * D)).astype(np.float32)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


FIRST_NE, SECOND_NE = drawn(6, 2, 0), drawn(5, 3, 1)
FIRST_N, SECOND_N = np.array([0, 0, 0, 1, 1, 1]), np.array([2, 2, 3, 3, 3])
FIRST = after(None, FIRST_NE, FIRST_N, [3, 3])
SECOND = after(FIRST, SECOND_NE, SECOND_N, [3, 3, 2, 3])


def test_prototypes_are_means_in_every_sub_space_that_saw_the_class() -> None:
    assert FIRST.kept["own_C"].tolist() == [1, 1] and SECOND.kept["own_C"].tolist() == [1, 1, 2, 2]
    first_CSD, second_CSD = FIRST.kept["prototype_CSD"].numpy(), SECOND.kept["prototype_CSD"].numpy()
    np.testing.assert_allclose(first_CSD[1].ravel(), FIRST_NE[3:].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(second_CSD[2].ravel(), SECOND_NE[:2].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(second_CSD[:2, :2], first_CSD)


def test_an_old_class_gets_its_prototype_in_a_new_sub_space_from_the_classes_that_are_like_it() -> None:
    second_CSD = SECOND.kept["prototype_CSD"].numpy().astype(np.float64)
    for old in (0, 1):
        likeness = np.exp([unit(second_CSD[old, 1]) @ unit(second_CSD[new, 1]) for new in (2, 3)])
        made_D = likeness / likeness.sum() @ second_CSD[2:, 2]
        np.testing.assert_allclose(second_CSD[old, 2], made_D, rtol=1e-5)


def test_prototypes_in_later_sub_spaces_are_made_anew_of_all_classes_that_were_measured_there() -> None:
    third = after(SECOND, drawn(4, 4, 7), np.array([4, 4, 5, 5]), [3, 3, 2, 3, 2, 2])
    third_CSD = third.kept["prototype_CSD"].numpy().astype(np.float64)
    for old, space, measured in [(0, 2, [2, 3, 4, 5]), (1, 3, [4, 5]), (3, 3, [4, 5])]:
        own = int(third.kept["own_C"][old])
        likeness = np.exp([unit(third_CSD[old, own]) @ unit(third_CSD[one, own]) for one in measured])
        made_D = likeness / likeness.sum() @ third_CSD[measured, space]
        np.testing.assert_allclose(third_CSD[old, space], made_D, rtol=1e-5)
    assert not np.allclose(third_CSD[0, 2], SECOND.kept["prototype_CSD"][0, 2])
    torch.testing.assert_close(third.kept["prototype_CSD"][2:4, :3], SECOND.kept["prototype_CSD"][2:4])


def test_the_complement_leans_to_the_most_similar_class() -> None:
    old_BD, new_BD = np.array([[1.0, 0], [-1.0, 0]]), np.array([[5.0, 5], [0.0, 0]])
    made_D = complement(np.array([3.0, 0], np.float32), old_BD, new_BD)
    np.testing.assert_allclose(made_D, 5 / (1 + np.exp(-2)) * np.ones(2))


def test_a_class_that_comes_again_is_merged_where_it_was_measured_and_measured_where_it_was_not() -> None:
    again_NE = drawn(4, 4, 2)
    third = after(SECOND, again_NE, np.array([0, 0, 4, 4]), [5, 3, 2, 3, 2])
    assert third.kept["own_C"].tolist() == [3, 1, 2, 2, 3]
    mean_SD = again_NE[:2].mean(axis=0).reshape(4, D)
    expected_SD = mean_SD.copy()
    expected_SD[:2] = 0.4 * mean_SD[:2] + 0.6 * SECOND.kept["prototype_CSD"].numpy()[0, :2]
    np.testing.assert_allclose(third.kept["prototype_CSD"].numpy()[0], expected_SD, rtol=1e-5)


def test_a_task_that_brings_no_sub_space_adds_a_class_to_those_that_there_are() -> None:
    third = after(SECOND, drawn(2, 3, 3), np.array([4, 4]), [3, 3, 2, 3, 2])
    assert third.kept["prototype_CSD"].shape == (5, 3, D) and third.kept["own_C"].tolist() == [1, 1, 2, 2, 2]
    measured = third.kept["prototype_CSD"][:4]
    torch.testing.assert_close(measured[2:], SECOND.kept["prototype_CSD"][2:])
    torch.testing.assert_close(measured[:, :2], SECOND.kept["prototype_CSD"][:, :2])
    assert not torch.allclose(measured[:2, 2], SECOND.kept["prototype_CSD"][:2, 2])


def test_the_own_sub_space_counts_one_others_a_tenth_and_the_plain_one_nothing() -> None:
    classifier = SubSpaceAligner().classifier(SECOND.head, SECOND.kept)
    assert isinstance(classifier, SubSpaceClassifier)
    expected_CS = [[0, 1, 0.1], [0, 1, 0.1], [0, 0.1, 1], [0, 0.1, 1]]
    features_NE, prototype_CSD = drawn(2, 3, 4), SECOND.kept["prototype_CSD"].numpy()
    for row, logits_C in zip(features_NE.reshape(2, 3, D), classifier.logits(features_NE), strict=True):
        cosine_CS = [[unit(row[s]) @ unit(prototype_CSD[c, s]) for s in range(3)] for c in range(4)]
        np.testing.assert_allclose(logits_C, (np.array(cosine_CS) * expected_CS).sum(axis=1), rtol=1e-5)


def test_together_all_sub_spaces_are_one_vector_and_its_class_the_nearest_mean_by_cosine() -> None:
    classifier = SubSpaceAligner(together=True).classifier(FIRST.head, FIRST.kept)
    features_NE, mean_CE = drawn(7, 2, 6), FIRST.kept["prototype_CSD"].reshape(2, -1).numpy()
    cosine_NC = [[unit(row_E) @ unit(mean_E) for mean_E in mean_CE] for row_E in features_NE]
    answers_NC = classifier.logits(features_NE) / np.linalg.norm(features_NE, axis=1, keepdims=True)
    np.testing.assert_allclose(answers_NC, cosine_NC, rtol=1e-4, atol=1e-6)


def test_aper_learns_one_adapter_in_its_first_task() -> None:
    lineage = Lineage(METHODS["aper"])
    first, second = lineage.learn([0, 1, 2]), lineage.learn([3, 4])
    tuned = {name: tensor for name, tensor in first.kept.items() if name.startswith("tuner/")}
    assert tuned and all(torch.equal(second.kept[name], tensor) for name, tensor in tuned.items())
    assert second.kept["aligner/prototype_CSD"].shape == (5, 2, second.statistics.dimension)
    assert not any(name.startswith("tuner/") and name not in tuned for name in second.kept)


def test_a_class_that_came_before_any_adapter_is_known_by_the_plain_features() -> None:
    lone = after(None, drawn(3, 1, 5), np.zeros(3, np.int64), [3])
    classifier = SubSpaceAligner().classifier(lone.head, lone.kept)
    np.testing.assert_allclose(classifier.logits(2 * lone.kept["prototype_CSD"].numpy()[:, 0]), [[1.0]], rtol=1e-6)


def test_a_server_cannot_offer_it_and_no_discriminant_takes_its_features() -> None:
    for name in ("ease", "aper"):
        assert METHODS[name].refusals() == [
            "its backbone does not fold into the plain one",
            "its classifier is more than its head",
        ]
        with pytest.raises(UnknownMethod, match="no discriminant"):
            method_named(f"{name}+warm")
        with pytest.raises(UnknownMethod, match="not of many sub-spaces"):
            method_named(f"{name}+ca+spread")
