"""How a task becomes versions: the story of one step, without reading or writing anything.

block = lay_out(base, labels)                          which classes, which columns
provisional(base, features, block, …)                  seconds: the backbone as it is, new rows in closed form
state = tune(backbone, images, starting_head(…), …)    stage 1, the slow learner
weights = tuned_backbone(base, state, method)
final(base, weights, state.head, features, …)          statistics carried and merged, stage 2 over all classes
calibrated(version, held-out features, …)              temperature and the rule for unknown images
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model import paper
from model.alignment import align
from model.block import Block
from model.calibration import expected_calibration_error, fit_temperature, softmax
from model.closed_form import RowScale, linear_discriminant
from model.head import Head
from model.methods import Method, RidgeDrift
from model.novelty import SAMPLES, fit_novelty
from model.snapshot import Snapshot, SnapshotClass
from model.statistics import ClassStatistics
from model.tuning_state import TuningState

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

FEWEST_FITTING = 20
"""Fewer held-out images than this are no ground for a temperature or a threshold."""


def provisional(
    base: Snapshot,
    features_ND: Floats,
    block: Block,
    *,
    task: str,
    method: Method,
    seed: int,
    device: str = "cpu",
) -> Snapshot:
    """A version on the base's backbone that knows the block's classes, and can be learned on from.

    `features_ND` are the block's training images through that backbone. Un-aligned rows of new classes are those of the
    linear discriminant over all classes, brought to the length of the others. The serving head is aligned over all
    classes; after the first task, or where the method has no aligner, it is that discriminant.
    """
    new = ClassStatistics.from_features(features_ND, block.image_columns_N, block.class_count)
    statistics = base.statistics.merged(new)
    discriminant = _usual_length(base).applied(linear_discriminant(statistics))
    unaligned = _grown(base.unaligned, block.class_count).with_rows(
        block.new_columns, discriminant.rows(block.new_columns)
    )
    snapshot = replace(
        base,
        classes=_classes(base, block, statistics, task),
        unaligned=unaligned,
        aligned=discriminant,
        statistics=statistics,
        novelty=None,
    )
    return _aligned(snapshot, base, block, method, seed, device)


def tuned_backbone(base: Snapshot, state: TuningState, method: Method) -> Mapping[str, Tensor]:
    """The weights that the final version gets: stage 1's, averaged with the base's where the method says so."""
    return state.backbone if method.averaging is None else method.averaging.mixed(base.backbone, state.backbone)


@dataclass(frozen=True, eq=False)
class PairedFeatures:
    """The block's training images through the base's backbone and through the new one, row by row."""

    old_ND: Floats
    new_ND: Floats


def final(
    base: Snapshot,
    backbone: Mapping[str, Tensor],
    block_head: Head,
    features: PairedFeatures,
    block: Block,
    *,
    task: str,
    method: Method,
    seed: int,
    device: str = "cpu",
) -> Snapshot:
    """The version that the slow learner's `backbone` and `block_head` make.

    Old statistics are carried into the new feature space where the method says so, and always for classes of the block,
    whose new images are then merged in. The block's un-aligned rows are written back. The head is aligned over all
    classes, but not after the first task, nor where the method has no aligner.
    """
    new = ClassStatistics.from_features(features.new_ND, block.image_columns_N, block.class_count)
    statistics = carried(base.statistics, features, block.known_columns, method.drift).merged(new)
    unaligned = _grown(base.unaligned, block.class_count).with_rows(block.columns_B, block_head)
    snapshot = replace(
        base,
        backbone=backbone,
        classes=_classes(base, block, statistics, task),
        unaligned=unaligned,
        aligned=unaligned,
        statistics=statistics,
        novelty=None,
    )
    return _aligned(snapshot, base, block, method, seed, device)


def carried(
    statistics: ClassStatistics, features: PairedFeatures, known_columns: Ints, drift: RidgeDrift | None
) -> ClassStatistics:
    """Old statistics in the new space: all of them with `drift`, else only those that are about to be merged."""
    if drift is not None:
        return drift.fit(features.old_ND, features.new_ND).carry(statistics)
    if not len(known_columns):
        return statistics
    moved = RidgeDrift().fit(features.old_ND, features.new_ND).carry(statistics)
    chosen = np.isin(np.arange(statistics.class_count), known_columns)
    factors = tuple(moved.factors[c] if chosen[c] else statistics.factors[c] for c in range(statistics.class_count))
    return ClassStatistics(statistics.count_C, np.where(chosen[:, None], moved.mean_CD, statistics.mean_CD), factors)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out images that only judge: features, columns, and which of them may fit (`fitting_half`)."""

    features_ND: Floats
    columns_N: Ints
    fitting_N: NDArray[np.bool_]


@dataclass(frozen=True)
class CalibrationReport:
    """`calibration_error` and `known_rate` are measured on the held-out images that nothing was fitted on, or None."""

    temperature: float
    calibration_error: float | None
    known_rate: float | None
    images: int


def calibrated(snapshot: Snapshot, held_out: HeldOut, *, seed: int) -> tuple[Snapshot, CalibrationReport]:
    """The version with a temperature and a rule for unknown images, fitted on one half and reported on the other.

    Where that half has fewer than 20 images both are fitted on features sampled from the class statistics.
    """
    fit_N = held_out.fitting_N
    features_ND, columns_N = held_out.features_ND[fit_N], held_out.columns_N[fit_N]
    if len(columns_N) < FEWEST_FITTING:
        rng = np.random.default_rng(seed)
        features_ND, columns_N = snapshot.statistics.sample(SAMPLES, rng, paper.RIDGE)
    temperature = fit_temperature(snapshot.aligned.logits(features_ND), columns_N)
    novelty = fit_novelty(snapshot.statistics, features_ND, columns_N)
    report_ND, report_N = held_out.features_ND[~fit_N], held_out.columns_N[~fit_N]
    probabilities_NC = softmax(snapshot.aligned.logits(report_ND) / temperature)
    report = CalibrationReport(
        temperature,
        expected_calibration_error(probabilities_NC, report_N),
        float(novelty.known(report_ND).mean()) if len(report_N) else None,
        len(report_N),
    )
    return snapshot.calibrated(temperature, novelty), report


def _aligned(snapshot: Snapshot, base: Snapshot, block: Block, method: Method, seed: int, device: str) -> Snapshot:
    """Stage 2, which a first task and a method without aligner do not have."""
    if method.aligner is None or not base.classes:
        return snapshot
    blocks_C = snapshot.blocks_C
    head = align(
        snapshot.unaligned, snapshot.statistics, blocks_C, block.number, method.aligner, seed=seed, device=device
    )
    return replace(snapshot, aligned=head)


def _classes(base: Snapshot, block: Block, statistics: ClassStatistics, task: str) -> tuple[SnapshotClass, ...]:
    fresh = tuple(SnapshotClass(label, task, block.number, 0) for label in _new_labels(block))
    return tuple(
        replace(
            one,
            block=block.number if column in block.columns_B else one.block,
            images=int(statistics.count_C[column]),
        )
        for column, one in enumerate((*base.classes, *fresh))
    )


def _new_labels(block: Block) -> Sequence[str]:
    return [label for label, known in zip(block.labels, block.known_B, strict=True) if not known]


def _usual_length(base: Snapshot) -> RowScale:
    """How long un-aligned rows are: those of the base, or a new head's where it has none."""
    if base.classes:
        return RowScale.of(base.unaligned)
    return RowScale(paper.HEAD_STD * base.unaligned.feature_dim**0.5)


def _grown(head: Head, class_count: int) -> Head:
    missing = class_count - head.class_count
    return Head.stack([head, Head(np.zeros((missing, head.feature_dim), np.float32), np.zeros(missing, np.float32))])
