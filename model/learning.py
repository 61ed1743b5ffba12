"""How a task becomes versions: the story of one step, without reading or writing anything.

block = lay_out(base, labels)                          which classes, which columns
provisional(base, seen, block, making)                 seconds: the backbone as it is, new rows in closed form
network = network_of(base, method)                     the base's weights, equipped by the tuner
started = start(network, base, block, images, …)       the head to train, the stage, what a memory adds
state = tune(network, started.images, …)               stage 1, the slow learner
moved = settled(network, started, state, method)       the weights that it leaves (so far `model/first_stage.py`)
final(base, moved, state.head, features, block, making) statistics carried and merged, the head over all classes
calibrated(version, held-out features, …)              temperature, unknown images (`model/scores/confidence.py`)
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.backbones.seen import PairedFeatures, Seen
from model.block import Block
from model.heads.closed_form import RowScale, linear_discriminant
from model.heads.head import Head
from model.method import AlignmentTask, Apart, Drift, Method, Slot, filed
from model.snapshot import Snapshot, SnapshotClass
from model.statistics.class_statistics import ClassStatistics
from model.statistics.drift import RidgeDrift
from model.stopping import Check, unchecked

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

NOTHING: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True)
class Making:
    """How heads and statistics of a version are made: by which method, from which seed, where, and who may stop it."""

    method: Method
    seed: int
    device: str = "cpu"
    check: Check = unchecked


def provisional(base: Snapshot, seen: Seen, block: Block, making: Making, *, task: str) -> Snapshot:
    """A version on the base's backbone that knows the block's classes, and can be learned on from.

    `seen` are the block's training images through that backbone, in the views for which there was time. Un-aligned rows
    of new classes are those of the linear discriminant over all classes, brought to the length of the others; so is
    that of a class that was alone until now, which had nothing to be told from. The serving head is aligned over all
    classes; after the first task, or where the method has no aligner, it is that discriminant. `making.check` is called
    between the steps of both and may raise to stop.
    """
    statistics = base.statistics.merged(_statistics(seen, block, base.unaligned.feature_dim))
    discriminant = RowScale.of(base.unaligned).applied(linear_discriminant(statistics, making.check))
    grown = base.unaligned.grown(block.class_count)
    unaligned = grown.with_rows(grown.silent_C, discriminant.rows(grown.silent_C))
    snapshot = replace(
        base,
        classes=_classes(base, block, statistics, task),
        unaligned=unaligned,
        aligned=discriminant,
        statistics=statistics,
        novelty=None,
    )
    return aligned(snapshot, block.number, seen.features_ND, block.image_columns_N, making)


def final(
    base: Snapshot,
    moved: Apart,
    head: Head,
    features: PairedFeatures,
    block: Block,
    making: Making,
    *,
    task: str,
    kept: Mapping[str, Tensor] = NOTHING,
) -> Snapshot:
    """The version that stage 1's weights and head make; `kept` is what regulariser and memory keep, by slot.

    Old statistics are carried into the new feature space where the method says so, and always for classes of the block,
    whose new images are then merged in. The block's un-aligned rows are written back. The head is aligned over all
    classes, but not after the first task, nor where the method has no aligner; `making.check` is called between its
    steps and may raise to stop.
    """
    pair = PairedFeatures(features.before.cut(head.feature_dim), features.after.cut(head.feature_dim))
    old = carried(base.statistics, pair, block.known_columns, making.method.drift, block.image_columns_N)
    statistics = old.merged(_statistics(features.after, block, head.feature_dim))
    rows = block.columns_B if making.method.scope == "block" else np.arange(block.class_count)
    unaligned = base.unaligned.grown(block.class_count).with_rows(rows, head)
    snapshot = replace(
        base,
        backbone=moved.plain,
        classes=_classes(base, block, statistics, task, trained=frozenset(rows.tolist())),
        unaligned=unaligned,
        aligned=unaligned,
        statistics=statistics,
        novelty=None,
        tuned_tasks=base.tuned_tasks + 1,
        kept={
            **kept,
            **filed("tuner", moved.kept),
            **filed("averaging", moved.averaged),
            **_of_slot(base, "aligner"),
        },
    )
    return aligned(snapshot, block.number, features.after.features_ND, block.image_columns_N, making)


def carried(
    statistics: ClassStatistics, features: PairedFeatures, known_columns: Ints, drift: Drift | None, columns_N: Ints
) -> ClassStatistics:
    """Old statistics in the new space: all of them with `drift`, else only those that are about to be merged.

    `columns_N` are the columns of the paired images' classes.
    """
    if not statistics.class_count:
        return statistics
    if drift is not None:
        return drift.fit(*features.of_drift(columns_N)).carry(statistics)
    if not len(known_columns):
        return statistics
    moved = RidgeDrift().fit(*features.of_drift(columns_N)).carry(statistics)
    chosen = np.isin(np.arange(statistics.class_count), known_columns)
    factors = tuple(moved.factors[c] if chosen[c] else statistics.factors[c] for c in range(statistics.class_count))
    return ClassStatistics(
        statistics.count_C,
        np.where(chosen[:, None], moved.mean_CD, statistics.mean_CD),
        factors,
        np.where(chosen, moved.drift_error_C, statistics.drift_error_C),
    )


def aligned(snapshot: Snapshot, block: int, features_ND: Floats, columns_N: Ints, making: Making) -> Snapshot:
    """With the head over all classes, which a method without aligner, and most after the first task, leave as it is.

    `block` is the number of the present block; features and columns are those of its training images.
    """
    aligner = making.method.aligner
    task = AlignmentTask(
        snapshot.unaligned,
        snapshot.statistics,
        snapshot.blocks_C,
        block,
        features_ND,
        columns_N,
        snapshot.kept,
        making.seed,
        making.device,
        making.check,
    )
    if aligner is None or (task.is_first and not aligner.on_first_task):
        return snapshot
    made = aligner.align(task)
    others = {name: tensor for name, tensor in snapshot.kept.items() if not name.startswith("aligner/")}
    return replace(snapshot, aligned=made.head, kept=others | filed("aligner", made.kept))


def _statistics(seen: Seen, block: Block, dimension: int) -> ClassStatistics:
    """Of the block's images, in one view or two."""
    first_ND, *others = seen.cut(dimension).of_statistics
    return ClassStatistics.from_features(first_ND, block.image_columns_N, block.class_count, *others)


def _of_slot(snapshot: Snapshot, name: Slot) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in snapshot.kept.items() if key.startswith(f"{name}/")}


def _classes(
    base: Snapshot, block: Block, statistics: ClassStatistics, task: str, *, trained: Collection[int] = ()
) -> tuple[SnapshotClass, ...]:
    fresh = tuple(SnapshotClass(label, task, block.number, 0, trained=False) for label in _new_labels(block))
    return tuple(
        replace(
            one,
            block=block.number if column in block.columns_B else one.block,
            images=int(statistics.count_C[column]),
            trained=one.trained or column in trained,
        )
        for column, one in enumerate((*base.classes, *fresh))
    )


def _new_labels(block: Block) -> Sequence[str]:
    return [label for label, known in zip(block.labels, block.known_B, strict=True) if not known]
