"""Heads that need no training: made of class statistics alone, by solving one linear system."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from model import paper
from model.heads.head import Head
from model.statistics.class_statistics import ClassStatistics
from model.statistics.shrinkage import shared_covariance
from model.stopping import Check, unchecked

ClosedForm = Literal["lda", "ridge", "nearest_mean"]

RIDGE_STRENGTH = 0.01
"""Weight of the identity in the ridge head, as a part of the mean feature energy."""


def closed_form_head(kind: ClosedForm, statistics: ClassStatistics, check: Check = unchecked) -> Head:
    """The head of that kind over all classes; `check` is called now and then and may raise to stop."""
    if kind == "nearest_mean":
        return nearest_mean(statistics)
    made = linear_discriminant if kind == "lda" else ridge_regression
    return made(statistics, check=check)


def linear_discriminant(
    statistics: ClassStatistics, check: Check = unchecked, shared_DD: NDArray[np.float64] | None = None
) -> Head:
    """w_c = Σ_pool⁻¹·μ_c and b_c = −½·μ_cᵀw_c: the best linear head for Gaussians of one covariance, evenly frequent.

    Means are taken about their mean, which changes no decision but keeps digits; Σ_pool is `shared_DD`, by default made
    here (`shared_covariance`). `check` is called now and then and may raise to stop.
    """
    mean_CD = statistics.mean_CD.astype(np.float64)
    centre_D = mean_CD.mean(axis=0) if len(mean_CD) else np.zeros(statistics.dimension)
    shifted_CD = mean_CD - centre_D
    if shared_DD is None:
        shared_DD = shared_covariance(statistics, check)
    weight_CD = cho_solve(cho_factor(shared_DD, lower=True), shifted_CD.T).T
    bias_C = -0.5 * (shifted_CD * weight_CD).sum(axis=1) - weight_CD @ centre_D
    return _head(weight_CD, bias_C)


def ridge_regression(statistics: ClassStatistics, strength: float = RIDGE_STRENGTH, check: Check = unchecked) -> Head:
    """W = (G + λI)⁻¹Q on one-hot targets, G = Σ_c [(n_c − 1)Σ_c + n_c·μ_cμ_cᵀ], Q = n_c·μ_c, λ = strength·trace(G)/D.

    The same as ridge regression on the features themselves; no intercept. `check` as for the discriminant.
    """
    mean_CD, count_C = statistics.mean_CD.astype(np.float64), statistics.count_C
    weighted_CD = mean_CD * count_C[:, None]
    gram_DD = statistics.freedom * statistics.pooled_covariance(check) + mean_CD.T @ weighted_CD
    energy = max(float(np.trace(gram_DD)) / statistics.dimension, np.finfo(np.float64).tiny)
    ridged_DD = gram_DD + strength * energy * np.eye(statistics.dimension)
    return _head(np.linalg.solve(ridged_DD, weighted_CD.T).T, np.zeros(len(mean_CD)))


def nearest_mean(statistics: ClassStatistics) -> Head:
    """w_c = μ_c/‖μ_c‖: the class of the largest cosine (SimpleCIL)."""
    mean_CD = statistics.mean_CD.astype(np.float64)
    length_C1 = np.linalg.norm(mean_CD, axis=1, keepdims=True)
    return _head(mean_CD / np.maximum(length_C1, 1e-12), np.zeros(len(mean_CD)))


@dataclass(frozen=True)
class RowScale:
    """How long the weight rows of a head are on average: what heads made in different ways are brought to.

    Rows are measured, not the mean block norm of the logits (method.md 9), since for a whole head that alignment begins
    from either will do: the loss with logit normalisation is unchanged by l → a·l, so that a sets only how far a step
    goes for the length of the weights (∝ 1/a²).
    """

    mean_length: float

    @classmethod
    def of(cls, head: Head) -> "RowScale":
        """The mean length of this head's rows, but for those of zeros; a new head's where it has no others."""
        length_C = np.linalg.norm(head.weight_CD, axis=1)
        told_C = length_C[length_C > 0]
        return cls(float(told_C.mean()) if len(told_C) else paper.HEAD_STD * head.feature_dim**0.5)

    def applied(self, head: Head) -> Head:
        """The head times one number, so that its rows have this mean length; decisions stay."""
        factor = self.mean_length / RowScale.of(head).mean_length
        return _head(head.weight_CD * factor, head.bias_C * factor)


def _head(weight_CD: NDArray[np.floating], bias_C: NDArray[np.floating]) -> Head:
    return Head(weight_CD.astype(np.float32), bias_C.astype(np.float32))
