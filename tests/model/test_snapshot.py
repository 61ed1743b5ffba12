"""A snapshot reads back bit for bit, and says what is wrong with parts that do not make one."""

import numpy as np
import pytest
import torch

from model.backbones.spec import BackboneSpec
from model.heads.head import Head
from model.scores.novelty import fit_novelty
from model.snapshot import Snapshot, SnapshotClass, SnapshotError
from model.statistics.class_statistics import ClassStatistics

SPEC = BackboneSpec("test_vit", 32, (0.5, 0.4, 0.3), (0.5, 0.2, 0.1), crop_fraction=0.9)
D = 6


def some_snapshot(novelty: bool = True) -> Snapshot:
    rng = np.random.default_rng(0)
    columns_N = np.repeat([0, 1, 2], 5)
    features_ND = rng.standard_normal((15, D)).astype(np.float32)
    statistics = ClassStatistics.from_features(features_ND, columns_N, 3)
    classes = tuple(SnapshotClass(label, "task-a", block, 5) for label, block in (("ä", 1), ("b", 3), ("c", 3)))
    return Snapshot(
        SPEC,
        "slca",
        {"network.w": torch.tensor(rng.standard_normal((3, 4))), "mean": torch.arange(3.0)},
        classes,
        Head(rng.standard_normal((3, D)), rng.standard_normal(3)),
        Head(rng.standard_normal((3, D)), rng.standard_normal(3)),
        statistics,
        temperature=0.37,
        novelty=fit_novelty(statistics, features_ND) if novelty else None,
    )


@pytest.mark.parametrize("novelty", [True, False])
def test_a_snapshot_reads_back_bit_for_bit(novelty: bool) -> None:
    snapshot = some_snapshot(novelty)
    back = Snapshot.from_parts(snapshot.to_parts(), snapshot.describe())
    assert back.to_parts() == snapshot.to_parts()
    assert back.describe() == snapshot.describe()
    assert (back.novelty is not None) is novelty
    assert back.labels == ("ä", "b", "c") and back.spec == SPEC


def test_equal_snapshots_give_equal_bytes_whatever_the_order_of_their_weights() -> None:
    snapshot = some_snapshot()
    turned = dict(reversed(list(snapshot.backbone.items())))
    other = Snapshot(
        **{**{name: getattr(snapshot, name) for name in snapshot.__dataclass_fields__}, "backbone": turned}
    )
    assert other.to_parts() == snapshot.to_parts()


def test_the_parts_have_their_roles() -> None:
    assert set(some_snapshot().to_parts()) == {"backbone", "head", "learner", "statistics", "novelty"}
    assert "novelty" not in some_snapshot(novelty=False).to_parts()
    assert some_snapshot(novelty=False).describe()["known_threshold"] is None


def test_the_next_block_follows_the_last_one() -> None:
    assert some_snapshot().next_block == 4
    assert some_snapshot().blocks_C.tolist() == [1, 3, 3]
    root = Snapshot.root(SPEC, {}, D, "slca")
    assert root.next_block == 1 and root.labels == () and root.unaligned.feature_dim == D


def test_a_root_reads_back() -> None:
    root = Snapshot.root(SPEC, {"w": torch.zeros(2)}, D, "slca")
    back = Snapshot.from_parts(root.to_parts(), root.describe())
    assert back.statistics.dimension == D and back.classes == ()


def test_numbers_of_classes_must_agree() -> None:
    snapshot = some_snapshot()
    with pytest.raises(SnapshotError, match="numbers of classes differ"):
        Snapshot.from_parts(
            {**snapshot.to_parts(), "head": Snapshot.root(SPEC, {}, D, "slca").to_parts()["head"]},
            snapshot.describe(),
        )


@pytest.mark.parametrize("role", ["backbone", "head", "learner", "statistics", "novelty"])
def test_a_damaged_part_is_refused(role: str) -> None:
    snapshot = some_snapshot()
    with pytest.raises(SnapshotError, match="not a snapshot"):
        Snapshot.from_parts({**snapshot.to_parts(), role: b"\xff" * 30}, snapshot.describe())


def test_a_missing_part_or_field_is_refused() -> None:
    snapshot = some_snapshot()
    parts, description = snapshot.to_parts(), snapshot.describe()
    with pytest.raises(SnapshotError):
        Snapshot.from_parts({role: data for role, data in parts.items() if role != "learner"}, description)
    with pytest.raises(SnapshotError):
        Snapshot.from_parts(parts, {name: value for name, value in description.items() if name != "classes"})


def test_a_description_of_a_time_that_knew_no_pooling_is_of_the_weights_own() -> None:
    said = {name: value for name, value in SPEC.to_json().items() if name != "pooling"}
    assert BackboneSpec.from_json(said) == SPEC and SPEC.pooling == "pretrained"
