"""RanPAC: ridge regression on random projections of the features, its sums kept from task to task."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from model.heads.closed_form import ridge_regression
from model.heads.head import Head
from model.method import Aligned, AlignmentTask, Classifier, Source
from model.training.stage import Tensors

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

STRENGTHS = tuple(10.0**power for power in range(-8, 9))
"""The λ that are tried (method.md 4)."""

FITTED = 0.8
"""Part of the task's images that λ is fitted on; the others judge it."""

SMALLEST_STRENGTH = 1.2e-7
"""λ is at least this part of G's trace: below it lies what float32 rounds away."""


@dataclass(frozen=True, eq=False)
class Projection:
    """h = ReLU(f·R), R ~ N(0, 1) of D×M, made again from its seed whenever it is needed."""

    matrix_DM: Floats

    @classmethod
    def drawn(cls, dimension: int, size: int, seed: int) -> "Projection":
        """The projection of this seed."""
        return cls(np.random.default_rng(seed).standard_normal((dimension, size), dtype=np.float32))

    def __call__(self, features_ND: Floats) -> Floats:
        """`hidden_NM`."""
        return np.asarray(np.maximum(np.asarray(features_ND, np.float32) @ self.matrix_DM, 0))


@dataclass(frozen=True, eq=False)
class ProjectedHead:
    """W on projected features."""

    projection: Projection
    weight_MC: Floats

    def logits(self, features_ND: Floats) -> Floats:
        """`logits_NC`: regressed one-hot targets."""
        return np.asarray(self.projection(features_ND) @ self.weight_MC, np.float32)


@dataclass(frozen=True)
class RandomProjectionAligner:
    """h = ReLU(f·R), G += HᵀH, Q += HᵀY, W = (G + λI)⁻¹Q (method.md 4), after every task.

    It keeps G (M×M), Q and W (M×C) and the seed of R. The sums of earlier tasks are in the feature space of their time:
    where the backbone moves on they grow stale. The head beside it is ridge regression without projection.
    """

    size: int = 10_000

    @property
    def is_in_head(self) -> bool:
        """It is linear in the projected features only."""
        return False

    @property
    def on_first_task(self) -> bool:
        """Also the first task is counted."""
        return True

    @property
    def reads(self) -> frozenset[Source]:
        """The sums are those of projected features."""
        return frozenset({"features"})

    def align(self, task: AlignmentTask) -> Aligned:
        """The sums with this task's images, and W for all classes."""
        classes = task.unaligned.class_count
        seed = int(task.kept["aligner/seed"].item()) if "aligner/seed" in task.kept else task.seed
        hidden_NM = Projection.drawn(task.features_ND.shape[1], self.size, seed)(task.features_ND)
        target_NC = np.eye(classes, dtype=np.float32)[task.columns_N]
        gram_MM, cross_MC = self._before(task.kept, classes)
        gram_MM += hidden_NM.T @ hidden_NM
        cross_MC += hidden_NM.T @ target_NC
        task.check()
        order_N = np.random.default_rng([task.seed, task.block]).permutation(len(hidden_NM))
        strength = best_strength(hidden_NM[order_N], target_NC[order_N])
        task.check()
        weight_MC = solved(gram_MM, cross_MC, strength)
        kept = {"gram_MM": gram_MM, "cross_MC": cross_MC, "weight_MC": weight_MC}
        tensors = {name: torch.from_numpy(array) for name, array in kept.items()}
        return Aligned(ridge_regression(task.statistics, check=task.check), {**tensors, "seed": torch.tensor(seed)})

    def classifier(self, head: Head, kept: Tensors) -> Classifier:
        """W behind the projection of the kept seed."""
        projection = Projection.drawn(head.feature_dim, self.size, int(kept["seed"].item()))
        return ProjectedHead(projection, kept["weight_MC"].numpy())

    def _before(self, kept: Tensors, classes: int) -> tuple[Floats, Floats]:
        gram_MM = np.zeros((self.size, self.size), np.float32)
        cross_MC = np.zeros((self.size, classes), np.float32)
        if "aligner/gram_MM" in kept:
            gram_MM[:] = kept["aligner/gram_MM"].numpy()
            cross_MC[:, : kept["aligner/cross_MC"].shape[1]] = kept["aligner/cross_MC"].numpy()
        return gram_MM, cross_MC


def solved(gram_MM: Floats, cross_MC: Floats, strength: float) -> Floats:
    """(G + λI)⁻¹Q in float64; λ at least `SMALLEST_STRENGTH` of G's trace."""
    ridged_MM = gram_MM.astype(np.float64)
    least = max(SMALLEST_STRENGTH * float(np.trace(ridged_MM)), np.finfo(np.float64).tiny)
    ridged_MM[np.diag_indices(len(ridged_MM))] += max(strength, least)
    factor = cho_factor(ridged_MM, lower=True, overwrite_a=True, check_finite=False)
    return np.asarray(cho_solve(factor, cross_MC.astype(np.float64)), np.float32)


def best_strength(hidden_NM: Floats, target_NC: Floats) -> float:
    """The λ whose ridge regression on the first 80 % of the rows has the least mean square error on the others.

    All are solved by one decomposition of the fitted rows' N×N products, or of M×M where that is smaller. The middle of
    the range where there are fewer than two rows.
    """
    cut = int(len(hidden_NM) * FITTED)
    if cut < 1 or cut == len(hidden_NM):
        return STRENGTHS[len(STRENGTHS) // 2]
    fit_NM, test_NM = hidden_NM[:cut].astype(np.float64), hidden_NM[cut:].astype(np.float64)
    value_R, left_NR, right_RC = _decomposed(fit_NM, target_NC[:cut].astype(np.float64), test_NM)
    errors = [
        float(np.square(left_NR / (value_R + strength) @ right_RC - target_NC[cut:]).mean()) for strength in STRENGTHS
    ]
    return STRENGTHS[int(np.argmin(errors))]


def _decomposed(fit_NM: Doubles, target_NC: Doubles, test_NM: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """d, L and R such that the predictions for the test rows are L·diag(1/(d + λ))·R for any λ."""
    if len(fit_NM) <= fit_NM.shape[1]:
        value_R, vector_NR = np.linalg.eigh(fit_NM @ fit_NM.T)
        return np.maximum(value_R, 0), test_NM @ (fit_NM.T @ vector_NR), vector_NR.T @ target_NC
    value_R, vector_MR = np.linalg.eigh(fit_NM.T @ fit_NM)
    return np.maximum(value_R, 0), test_NM @ vector_MR, vector_MR.T @ (fit_NM.T @ target_NC)
