"""Where a task's classes stand, and what their head starts from."""

import numpy as np
import pytest
import torch

from model.backbones.spec import BackboneSpec
from model.block import lay_out, starting_head
from model.heads.head import Head
from model.snapshot import Snapshot, SnapshotClass
from model.statistics.class_statistics import ClassStatistics

SPEC = BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3)
D = 64


def base(*labels: str) -> Snapshot:
    rng = np.random.default_rng(0)
    count = len(labels)
    statistics = ClassStatistics.from_features(rng.standard_normal((count, D)), np.arange(count), count)
    heads = [Head(rng.standard_normal((count, D)), rng.standard_normal(count)) for _ in range(2)]
    classes = tuple(SnapshotClass(label, "t", 1 + column, 1) for column, label in enumerate(labels))
    return Snapshot(SPEC, "slca", {"w": torch.zeros(1)}, classes, *heads, statistics)


def test_new_classes_follow_the_known_ones_in_order_of_arrival() -> None:
    block = lay_out(base("a", "b", "c"), ["z", "b", "y", "z", "b"])
    assert block.labels == ("b", "z", "y")
    assert block.columns_B.tolist() == [1, 3, 4]
    assert block.known_B.tolist() == [True, False, False]
    assert block.image_columns_N.tolist() == [3, 1, 4, 3, 1]
    assert block.image_positions_N.tolist() == [1, 0, 2, 1, 0]
    assert (block.class_count, block.number) == (5, 4)
    assert block.known_columns.tolist() == [1] and block.new_columns.tolist() == [3, 4]


def test_only_a_block_of_several_classes_needs_the_slow_learner() -> None:
    assert lay_out(base("a"), ["b", "a"]).needs_tuning
    assert not lay_out(base("a"), ["b", "b"]).needs_tuning


def test_a_task_without_images_has_no_block() -> None:
    with pytest.raises(ValueError, match="without images"):
        lay_out(base("a"), [])


def test_known_rows_start_un_aligned_and_new_ones_as_the_reference_has_them() -> None:
    before = base("a", "b")
    block = lay_out(before, ["x", "a", *(f"n{i}" for i in range(200))])
    head = starting_head(before, block, seed=4)
    np.testing.assert_array_equal(head.weight_CD[0], before.unaligned.weight_CD[0])
    assert head.bias_C[0] == before.unaligned.bias_C[0]
    assert not head.bias_C[1:].any()
    assert head.weight_CD[1:].std() == pytest.approx(0.02, abs=5e-4)
    np.testing.assert_array_equal(starting_head(before, block, seed=4).weight_CD, head.weight_CD)
    assert not np.array_equal(starting_head(before, block, seed=5).weight_CD[1:], head.weight_CD[1:])


def test_new_classes_come_in_the_order_in_which_they_arrived() -> None:
    block = lay_out(base("a"), ["c", "b", "c"], arrival=["d", "b", "c", "a"])
    assert (block.labels, block.columns_B.tolist(), block.class_count) == (("b", "c"), [1, 2], 3)
