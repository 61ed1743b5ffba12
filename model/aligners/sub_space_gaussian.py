"""Classifier alignment where features are many sub-spaces side by side (EASE, APER): stage 2 of SLCA on prototypes.

A class has images only in the sub-spaces that there were when it was learned last. Of those its Gaussian is remembered,
E = S·D numbers wide; in later ones it gets the mean that EASE would complete its prototype by, and the spread that the
classes which were seen there have in common.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from model.aligners.sub_spaces import SubSpaceAligner, complete
from model.heads.alignment import AlignmentPlan, align
from model.heads.head import Head
from model.method import Aligned, AlignmentTask, Classifier, Source, slot
from model.statistics.class_statistics import ClassStatistics, principal
from model.statistics.sampling import root_of
from model.stopping import Check
from model.training.stage import Tensors

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

KEPT_DIRECTIONS = 64
"""Of each class's covariance over all sub-spaces: those of greatest variance, lengthened so that all of it stays."""

SHARED_DIRECTIONS = 32
"""The same, of what the classes of a later sub-space have in common."""


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
        head, own_C = self.prototypes.rows(made.kept), made.kept["own_C"].numpy()
        statistics = self._statistics(task, head.feature_dim)
        if not task.is_first:
            head = align(
                head,
                completed(statistics, own_C, task.statistics.dimension, task.check),
                task.blocks_C,
                task.block,
                self.plan,
                seed=task.seed,
                device=task.device,
                check=task.check,
            )
        gaussians = {"mean_CE": statistics.mean_CD, "factor_CRE": _stacked(statistics)}
        arrays = gaussians | {"weight_CE": head.weight_CD, "bias_C": head.bias_C}
        return Aligned(made.head, {**made.kept, **{name: torch.from_numpy(one) for name, one in arrays.items()}})

    def classifier(self, head: Head, kept: Tensors) -> Classifier:
        """The kept rows over all sub-spaces."""
        aligned = Head(kept["weight_CE"].numpy(), kept["bias_C"].numpy())
        return self.prototypes.over(aligned, head.feature_dim)

    def _statistics(self, task: AlignmentTask, width: int) -> ClassStatistics:
        """Of all classes, in the sub-spaces in which each was seen; zeros in later ones."""
        features_NE = self.prototypes.seen(task.features_ND, task.statistics.dimension)
        fresh = ClassStatistics.from_features(features_NE, task.columns_N, task.unaligned.class_count)
        before = _before(slot(task.kept, "aligner"), task.statistics.count_C - fresh.count_C, width)
        if before is None:
            return _shortened(fresh)
        own_C = task.kept["aligner/own_C"].numpy()
        begun = [
            _continued(before, fresh, column, (int(own_C[column]) + 1) * task.statistics.dimension)
            for column in range(before.class_count)
        ]
        mean_CE, factors = np.stack([mean_E for mean_E, _ in begun]), tuple(factor_RE for _, factor_RE in begun)
        return _shortened(replace(before, mean_CD=mean_CE, factors=factors).merged(fresh))


def completed(statistics: ClassStatistics, own_C: Ints, dimension: int, check: Check) -> ClassStatistics:
    """With what stands for each class in the sub-spaces after `own_C`, its own: no image of it was seen there."""
    mean_CSD = statistics.mean_CD.reshape(len(own_C), -1, dimension).copy()
    complete(mean_CSD, own_C)
    factors = [[factor_RE] for factor_RE in statistics.factors]
    for space in range(1, mean_CSD.shape[1]):
        place = slice(space * dimension, (space + 1) * dimension)
        seen = _part(statistics.rows(np.flatnonzero(own_C >= space)), place)
        shared_RD = principal(root_of(seen.pooled_covariance(check)), SHARED_DIRECTIONS)
        wide_RE = np.zeros((len(shared_RD), statistics.dimension), np.float32)
        wide_RE[:, place] = shared_RD
        for column in np.flatnonzero(own_C < space):
            factors[column].append(wide_RE)
    return replace(statistics, mean_CD=mean_CSD.reshape(len(own_C), -1), factors=tuple(map(np.concatenate, factors)))


def _continued(before: ClassStatistics, fresh: ClassStatistics, column: int, width: int) -> tuple[Floats, Floats]:
    """Mean and factor of what was remembered of a class; behind the `width` numbers that it was seen in, what the new
    images say, if there are any.
    """
    mean_E, factor_RE = before.mean_CD[column].copy(), before.factors[column]
    if fresh.count_C[column]:
        mean_E[width:] = fresh.mean_CD[column, width:]
        later_RE = fresh.factors[column].copy()
        later_RE[:, :width] = 0
        factor_RE = np.concatenate([factor_RE, later_RE])
    return mean_E, factor_RE


def _before(kept: Tensors, count_C: Ints, width: int) -> ClassStatistics | None:
    """What was kept of earlier tasks, with zeros for sub-spaces that are new; None before there was any."""
    if "mean_CE" not in kept:
        return None
    mean_CE, factor_CRE = kept["mean_CE"].numpy(), kept["factor_CRE"].numpy()
    new = width - mean_CE.shape[1]
    factors = tuple(np.pad(factor_RE, ((0, 0), (0, new))) for factor_RE in factor_CRE)
    known = len(mean_CE)
    return ClassStatistics(count_C[:known], np.pad(mean_CE, ((0, 0), (0, new))), factors, np.zeros(known, np.float32))


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


def _part(statistics: ClassStatistics, place: slice) -> ClassStatistics:
    """The Gaussians' marginals in some of the numbers."""
    factors = tuple(factor_RE[:, place] for factor_RE in statistics.factors)
    return replace(statistics, mean_CD=statistics.mean_CD[:, place], factors=factors)
