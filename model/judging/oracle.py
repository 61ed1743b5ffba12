"""The answers of a version if no statistics were stale: an upper bound that only a benchmark can have."""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.aligners import GaussianAligner
from model.backbones.seen import Seen
from model.method import Aligner, AlignmentTask, Classifier, Method
from model.snapshot import Snapshot
from model.statistics.class_statistics import ClassStatistics

Ints = NDArray[np.int64]

ORACLE_RIDGE: Final = 1e-5
"""Added to the diagonal of covariances that were computed anew (method.md 2.2; the stored ones get 1e-4): of all
classes, where the reference leaves those of the present task at 1e-4.
"""


def oracle_classifier(
    snapshot: Snapshot,
    method: Method,
    seen: Seen,
    columns_N: Ints,
    *,
    seed: int,
    device: str = "cpu",
) -> Classifier | None:
    """What the method's aligner makes of statistics of all classes' training images as the present backbone sees them,
    in the views that the method asks for.

    The gap to the method's own classifier measures drift. None where its answers do not come from class statistics; the
    head as it is where the aligner leaves the first task alone.
    """
    aligner = method.aligner
    if aligner is None or not method.reads_statistics:
        return None
    first_ND, *others = seen.only(method.views).of_statistics
    statistics = ClassStatistics.from_features(first_ND, columns_N, len(snapshot.classes), *others)
    task = AlignmentTask(
        snapshot.unaligned,
        statistics,
        snapshot.blocks_C,
        snapshot.next_block - 1,
        first_ND,
        columns_N,
        snapshot.kept,
        seed,
        device,
    )
    if task.is_first and not aligner.on_first_task:
        return snapshot.aligned
    aligned = _with_fresh_ridge(aligner).align(task)
    return aligner.classifier(aligned.head, aligned.kept)


def _with_fresh_ridge(aligner: Aligner) -> Aligner:
    if not isinstance(aligner, GaussianAligner):
        return aligner
    return replace(aligner, plan=replace(aligner.plan, ridge=ORACLE_RIDGE))
