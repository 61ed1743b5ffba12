"""Classifier alignment where features are many sub-spaces side by side (EASE, APER): stage 2 of SLCA on prototypes.

A class has images only in the sub-spaces that there were when it was learned. Into a later one its Gaussian, E = S·D
numbers wide, is carried from the plain features by a ridge map that the task's own images are seen to follow, as wide
as what that map leaves of these.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from model.aligners.gaussian import trained
from model.aligners.sub_spaces import SubSpaceAligner
from model.heads.alignment import AlignmentPlan
from model.heads.head import Head
from model.method import Aligned, AlignmentTask, Classifier, Source, slot
from model.statistics.class_statistics import ClassStatistics, principal
from model.statistics.drift import RidgeDrift
from model.training.stage import Tensors

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

KEPT_DIRECTIONS = 64
"""Of each class's covariance over all sub-spaces: those of greatest variance, lengthened so that all of it stays."""

LEFT_OVER_DIRECTIONS = 32
"""The same, of what the map into a later sub-space leaves of the images that it was fitted on."""


@dataclass(frozen=True)
class SubSpaceGaussianAligner:
    """`align` over all sub-spaces, begun from the prototypes; after the first task these answer as they are.

    It keeps what `prototypes` keeps, and of each class a mean and `KEPT_DIRECTIONS` directions of E numbers.
    """

    prototypes: SubSpaceAligner
    plan: AlignmentPlan = field(default_factory=AlignmentPlan)

    @property
    def is_in_head(self) -> bool:
        """It stands on more than the plain features."""
        return False

    @property
    def on_first_task(self) -> bool:
        """Also the first task's classes have prototypes."""
        return True

    @property
    def reads(self) -> frozenset[Source]:
        """The prototypes, and Gaussians of the task's features."""
        return frozenset({"features"})

    def align(self, task: AlignmentTask) -> Aligned:
        """The prototypes' rows, trained on features drawn from the Gaussians of all classes."""
        made = self.prototypes.align(task)
        head = self.prototypes.rows(made.kept)
        statistics = self._statistics(task, head.feature_dim)
        if not task.is_first:
            head = trained(head, statistics, task, self.plan)
        gaussians = {"mean_CE": statistics.mean_CD, "factor_CRE": _stacked(statistics)}
        arrays = gaussians | {"weight_CE": head.weight_CD, "bias_C": head.bias_C}
        return Aligned(made.head, {**made.kept, **{name: torch.from_numpy(one) for name, one in arrays.items()}})

    def classifier(self, head: Head, kept: Tensors) -> Classifier:
        """The kept rows over all sub-spaces."""
        aligned = Head(kept["weight_CE"].numpy(), kept["bias_C"].numpy())
        return self.prototypes.over(aligned, head.feature_dim)

    def _statistics(self, task: AlignmentTask, width: int) -> ClassStatistics:
        """Of all classes in all sub-spaces, `width` numbers together."""
        features_NE = self.prototypes.seen(task.features_ND, task.statistics.dimension)
        fresh = ClassStatistics.from_features(features_NE, task.columns_N, task.unaligned.class_count)
        known = _known(slot(task.kept, "aligner"), task.statistics.count_C - fresh.count_C)
        if known is None:
            return _shortened(fresh)
        for begin in range(known.dimension, width, task.statistics.dimension):
            known = _carried(known, features_NE, task.columns_N, slice(begin, begin + task.statistics.dimension))
        return _shortened(known.merged(fresh))


def _carried(known: ClassStatistics, features_NE: Floats, columns_N: Ints, later: slice) -> ClassStatistics:
    """With what the plain features, the first D numbers, say of a later sub-space."""
    plain_ND, later_ND = features_NE[:, : later.stop - later.start], features_NE[:, later]
    drift = RidgeDrift().fit(plain_ND, later_ND, columns_N)
    there = drift.carry(known.leading(plain_ND.shape[1]))
    left_ND = (later_ND - drift.mapped(plain_ND)).astype(np.float64)
    deviation_ND = (left_ND - left_ND.mean(axis=0)) / np.sqrt(max(1, len(left_ND) - 1))
    left_RD = principal(deviation_ND, LEFT_OVER_DIRECTIONS).astype(np.float32)
    left_RE = np.pad(left_RD, ((0, 0), (later.start, 0)))
    factors = tuple(
        np.concatenate([np.concatenate([before_RE, there_RD], axis=1), left_RE])
        for before_RE, there_RD in zip(known.factors, there.factors, strict=True)
    )
    return replace(known, mean_CD=np.concatenate([known.mean_CD, there.mean_CD], axis=1), factors=factors)


def _known(kept: Tensors, count_C: Ints) -> ClassStatistics | None:
    """What was kept of earlier tasks' classes; None before there were any."""
    if "mean_CE" not in kept:
        return None
    mean_CE = kept["mean_CE"].numpy()
    factors = tuple(factor_RE[factor_RE.any(axis=1)] for factor_RE in kept["factor_CRE"].numpy())
    return ClassStatistics(count_C[: len(mean_CE)], mean_CE, factors, np.zeros(len(mean_CE), np.float32))


def _shortened(statistics: ClassStatistics) -> ClassStatistics:
    """With the directions alone that are kept."""
    factors = [principal(factor_RE.astype(np.float64), KEPT_DIRECTIONS) for factor_RE in statistics.factors]
    return replace(statistics, factors=tuple(np.asarray(factor_RE, np.float32) for factor_RE in factors))


def _stacked(statistics: ClassStatistics) -> Floats:
    """The factors in one array, rows of zeros behind those that have fewer than are kept."""
    stacked_CRE = np.zeros((statistics.class_count, KEPT_DIRECTIONS, statistics.dimension), np.float32)
    for rows_RE, factor_RE in zip(stacked_CRE, statistics.factors, strict=True):
        rows_RE[: len(factor_RE)] = factor_RE
    return stacked_CRE
