"""A class taken out of a snapshot leaves the others as they were, and nothing of itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.backbones.spec import BackboneSpec
from model.forgetting import CannotForget, without_class
from model.heads.closed_form import linear_discriminant
from model.heads.head import Head
from model.learning import Making, aligned
from model.memories import BiasCorrection, DarkExperience
from model.memories.album import Album
from model.memories.dark_experience import Experience
from model.method import Method, slot
from model.methods import method_named
from model.snapshot import Snapshot, SnapshotClass
from model.statistics.class_statistics import ClassStatistics
from tests.model.check_method import Lineage

SPEC = BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3)
LABELS = ("ant", "bee", "cat", "dog")
BLOCKS = (1, 1, 2, 3)


def snapshot() -> Snapshot:
    """Four classes of three tasks, 20 features each around a mean of its own."""
    rng = np.random.default_rng(0)
    columns_N = np.repeat(np.arange(4), 20)
    features_ND = (3 * np.eye(4, 8)[columns_N] + rng.standard_normal((80, 8))).astype(np.float32)
    heads = [Head(rng.standard_normal((4, 8)).astype(np.float32), np.zeros(4, np.float32)) for _ in range(2)]
    classes = tuple(SnapshotClass(one, f"t{block}", block, 20) for one, block in zip(LABELS, BLOCKS, strict=True))
    statistics = ClassStatistics.from_features(features_ND, columns_N, 4)
    return Snapshot(SPEC, "slca", {"w": torch.ones(1)}, classes, heads[0], heads[1], statistics, tuned_tasks=3)


def forget(base: Snapshot, label: str, method: Method | str = "slca") -> Snapshot:
    return without_class(base, label, Making(method_named(method) if isinstance(method, str) else method, 1))


@pytest.mark.parametrize("label", LABELS)
def test_the_others_keep_their_statistics_and_rows_bit_for_bit(label: str) -> None:
    base = snapshot()
    made = forget(base, label)
    left = [c for c, one in enumerate(LABELS) if one != label]
    assert made.labels == tuple(LABELS[c] for c in left)
    assert np.array_equal(made.unaligned.weight_CD, base.unaligned.weight_CD[left])
    assert np.array_equal(made.statistics.mean_CD, base.statistics.mean_CD[left])
    for now, column in zip(made.statistics.factors, left, strict=True):
        assert np.array_equal(now, base.statistics.factors[column])
    assert made.backbone is base.backbone


def test_no_stored_part_holds_the_class() -> None:
    base = snapshot()
    made = forget(base, "cat")
    stored = b"".join(made.to_parts().values())
    assert base.statistics.mean_CD[2].tobytes() in base.to_parts()["statistics"]
    assert base.statistics.mean_CD[2].tobytes() not in stored
    assert base.statistics.factors[2].tobytes() not in stored
    assert base.unaligned.weight_CD[2].tobytes() not in stored
    assert base.aligned.weight_CD[2].tobytes() not in stored
    assert "cat" not in str(made.describe())


def test_the_head_is_aligned_over_the_others_and_tells_them_apart() -> None:
    base = snapshot()
    made = forget(base, "cat", "slca+warm")
    drawn_ND, columns_N = made.statistics.sample(50, np.random.default_rng(2), 1e-4)
    assert (made.aligned.logits(drawn_ND).argmax(axis=1) == columns_N).mean() > 0.85
    again = forget(base, "cat", "slca+warm")
    assert np.array_equal(again.aligned.weight_CD, made.aligned.weight_CD)


@pytest.mark.parametrize("method", ["sl", "slca"])
def test_where_nothing_is_aligned_the_un_aligned_rows_of_the_others_serve(method: str) -> None:
    base = replace(snapshot(), classes=tuple(replace(one, block=1) for one in snapshot().classes))
    made = forget(base, "bee", method)
    assert np.array_equal(made.aligned.weight_CD, base.unaligned.weight_CD[[0, 2, 3]])


@pytest.mark.parametrize("method", ["sl", "slca", "slca++", "slca+warm", "slca+warm+spread"])
def test_what_serves_afterwards_is_the_same_whichever_class_was_learned_and_forgotten(method: str) -> None:
    """Two classes of the first task, and a third one, learned and aligned for against one or another set of images."""
    made = []
    for shift in (0.0, 5.0):
        base = snapshot()
        statistics = base.statistics.rows(np.array([0, 1, 2]))
        mean_CD = statistics.mean_CD.copy()
        mean_CD[2] += shift
        statistics = replace(statistics, mean_CD=mean_CD)
        rows = base.unaligned.rows(np.array([0, 1, 2]))
        known = replace(base, classes=base.classes[:3], unaligned=rows, aligned=rows, statistics=statistics)
        served = aligned(known, 2, np.zeros((0, 8), np.float32), np.zeros(0, np.int64), Making(method_named(method), 1))
        made.append(forget(served, "cat", method))
    one, other = made
    np.testing.assert_array_equal(one.aligned.weight_CD, other.aligned.weight_CD)
    np.testing.assert_array_equal(one.aligned.bias_C, other.aligned.bias_C)


def test_two_classes_become_one() -> None:
    made = forget(forget(forget(snapshot(), "ant", "slca+warm"), "bee", "slca+warm"), "dog", "slca+warm")
    assert made.labels == ("cat",)
    assert np.isfinite(made.aligned.weight_CD).all()
    with pytest.raises(CannotForget, match="only class"):
        forget(made, "cat")


def test_sums_over_all_classes_cannot_be_split() -> None:
    with pytest.raises(CannotForget, match="sums"):
        forget(snapshot(), "cat", "ranpac")


@pytest.mark.parametrize("method", ["der++", "bic", "gdumb"])
def test_a_memory_forgets_the_classs_images_and_what_was_said_of_it(method: str) -> None:
    lineage = Lineage(method_named(method))
    lineage.learn([0, 1, 2])
    base = lineage.learn([3, 4])
    made = forget(base, base.labels[1], method)
    before, after = slot(base.kept, "memory"), slot(made.kept, "memory")
    old, new = Album.from_tensors(before), Album.from_tensors(after)
    left = np.flatnonzero(old.columns_N != 1)
    assert len(left) < len(old) and set(old.columns_N) == {0, 1, 2, 3, 4}
    assert new.columns_N.tolist() == [column - (column > 1) for column in old.columns_N[left]]
    assert all(np.array_equal(new.pixels(row), old.pixels(was)) for row, was in enumerate(left))
    forgotten = [old.pixels(row).tobytes() for row in np.flatnonzero(old.columns_N == 1)]
    stored = b"".join(made.to_parts().values())
    assert all(picture in b"".join(base.to_parts().values()) and picture not in stored for picture in forgotten)
    assert lineage.last is not None
    lineage.last = replace(lineage.last, snapshot=made)
    assert lineage.learn([5]).labels == (*made.labels, "c5")


def test_what_was_said_of_the_others_and_their_corrections_stay() -> None:
    album = Album(tuple(np.full((2, 2, 3), value, np.uint8) for value in range(4)), np.array([0, 1, 2, 2]))
    logits_NC = np.arange(12, dtype=np.float32).reshape(4, 3)
    logits_NC[:2, 2] = 0
    kept = Experience(album, logits_NC, np.array([2, 2, 3, 3]), 9).to_tensors()
    memory = DarkExperience(capacity=4)
    found = Experience.from_tensors(memory.without(kept, 1))
    assert found.logits_NC.tolist() == [[0, 0], [6, 8], [9, 11]] and found.said_N.tolist() == [1, 2, 2]
    assert (found.album.columns_N.tolist(), found.seen) == ([0, 1, 1], 3)
    unknown = Experience.from_tensors(memory.without(kept, 3))
    assert np.array_equal(unknown.logits_NC, logits_NC) and unknown.seen == 9
    corrected = {
        **album.to_tensors(),
        "alpha_C": torch.tensor([1.0, 2.0, 3.0]),
        "beta_C": torch.tensor([4.0, 5.0, 6.0]),
    }
    left = BiasCorrection().without(corrected, 1)
    assert (left["alpha_C"].tolist(), left["beta_C"].tolist()) == ([1.0, 3.0], [4.0, 6.0])
    assert BiasCorrection().without(corrected, 3)["alpha_C"].tolist() == [1.0, 2.0, 3.0]


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(CannotForget, match="does not know"):
        forget(snapshot(), "emu")


@pytest.mark.parametrize("method", ["sl", "slca", "slca+warm"])
def test_rows_that_no_task_has_trained_are_made_of_the_remaining_statistics(method: str) -> None:
    """A discriminant over all four classes holds each class in every row."""
    base = snapshot()
    classes = tuple(replace(one, trained=one.label in ("ant", "cat")) for one in base.classes)
    made = forget(replace(base, classes=classes), "cat", method)
    expected = linear_discriminant(made.statistics).weight_CD[1:]
    factor = made.unaligned.weight_CD[1, 0] / expected[0, 0]
    np.testing.assert_array_equal(made.unaligned.weight_CD[0], base.unaligned.weight_CD[0])
    np.testing.assert_allclose(made.unaligned.weight_CD[1:], factor * expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["sl", "slca", "slca+warm"])
def test_a_lineage_that_met_and_forgot_one_class_is_that_which_met_and_forgot_another(method: str) -> None:
    """Two classes tune the backbone; the next two come alone, so that their rows are a discriminant's."""
    left = []
    for passing in (9, 5):
        lineage = Lineage(method_named(method))
        for classes in ([0, 1], [passing], [7]):
            lineage.learn(classes)
        assert [one.trained for one in lineage.version.classes] == [True, True, False, False]
        left.append(forget(lineage.version, f"c{passing}", method))
    one, other = left
    for head, same in ((one.unaligned, other.unaligned), (one.aligned, other.aligned)):
        np.testing.assert_array_equal(head.weight_CD, same.weight_CD)
        np.testing.assert_array_equal(head.bias_C, same.bias_C)


@pytest.mark.parametrize(("tuned_tasks", "trained"), [(0, False), (2, True)])
def test_versions_from_before_it_was_noted_count_as_trained_once_a_task_had_tuned(
    tuned_tasks: int, trained: bool
) -> None:
    base = replace(snapshot(), tuned_tasks=tuned_tasks)
    description = base.describe()
    for one in description["classes"]:
        del one["trained"]
    read = Snapshot.from_parts(base.to_parts(), description)
    assert {one.trained for one in read.classes} == {trained}
