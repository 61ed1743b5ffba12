"""Each class by its own Gaussian: the nearest mean by a distance that is measured in the class's own spread."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from model.heads.closed_form import linear_discriminant
from model.heads.head import Head
from model.method import Aligned, AlignmentTask, Classifier, Source
from model.statistics.class_statistics import ClassStatistics
from model.statistics.shrinkage import oracle_shrunk
from model.training.stage import Tensors

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GaussianClassifier:
    """−½‖(f − μ_c)·F_c‖² + b_c, with F_c·F_cᵀ the inverse of the class's covariance."""

    mean_CD: Floats
    factor_CDD: Floats
    bias_C: Floats

    def logits(self, features_ND: Floats) -> Floats:
        """`logits_NC`, class by class."""
        scored = [
            bias - 0.5 * np.square((features_ND - mean_D) @ factor_DD).sum(axis=1)
            for mean_D, factor_DD, bias in zip(self.mean_CD, self.factor_CDD, self.bias_C, strict=True)
        ]
        return np.stack(scored, axis=1).astype(np.float32)


@dataclass(frozen=True)
class ClassGaussianAligner:
    """A classifier by shrunken class covariances, made of the class statistics after every task (method.md 8.2).

    `fecam`: Σ_c + `strength`·(mean variance)·I, divided by the standard deviations to a correlation matrix, and no
    log determinant. `quadratic`: Σ_c drawn towards the pooled covariance by α = κ/(κ + n − 1) with κ = `strength`, and
    the log determinant (regularised discriminant analysis). It keeps a D×D factor of each class. The head beside it is
    the linear discriminant.
    """

    kind: Literal["fecam", "quadratic"] = "fecam"
    strength: float = 1.0

    @property
    def is_in_head(self) -> bool:
        """It is quadratic in the features."""
        return False

    @property
    def on_first_task(self) -> bool:
        """Also the first task's classes have statistics."""
        return True

    @property
    def reads(self) -> frozenset[Source]:
        """Means and covariances alone."""
        return frozenset({"statistics"})

    def align(self, task: AlignmentTask) -> Aligned:
        """Factors and biases of all classes."""
        covariances = self._covariances(task.statistics)
        factor_CDD = np.stack([_inverse_root(one_DD) for one_DD in covariances]).astype(np.float32)
        bias_C = np.zeros(len(covariances), np.float32)
        if self.kind == "quadratic":
            bias_C = np.array([-0.5 * np.linalg.slogdet(one_DD)[1] for one_DD in covariances], np.float32)
            bias_C -= bias_C.mean()
        kept = {"mean_CD": task.statistics.mean_CD, "factor_CDD": factor_CDD, "bias_C": bias_C}
        tensors = {name: torch.from_numpy(array) for name, array in kept.items()}
        return Aligned(linear_discriminant(task.statistics), tensors)

    def classifier(self, head: Head, kept: Tensors) -> Classifier:
        """The kept Gaussians."""
        return GaussianClassifier(kept["mean_CD"].numpy(), kept["factor_CDD"].numpy(), kept["bias_C"].numpy())

    def _covariances(self, statistics: ClassStatistics) -> list[Doubles]:
        columns = range(statistics.class_count)
        if self.kind == "fecam":
            return [correlation(statistics.covariance(column), self.strength) for column in columns]
        pooled_DD = oracle_shrunk(statistics.pooled_covariance(), statistics.freedom)
        freedom_C = np.maximum(statistics.count_C - 1, 0)
        alpha_C = self.strength / (self.strength + freedom_C)
        return [(1 - alpha_C[c]) * statistics.covariance(c) + alpha_C[c] * pooled_DD for c in columns]


def correlation(covariance_DD: Doubles, strength: float) -> Doubles:
    """Σ + strength·(mean variance)·I with every variance brought to 1; the identity where there is no variance."""
    variance = float(np.trace(covariance_DD)) / len(covariance_DD)
    if variance <= 0:
        return np.eye(len(covariance_DD))
    shrunk_DD = covariance_DD + strength * variance * np.eye(len(covariance_DD))
    deviation_D = np.sqrt(np.diag(shrunk_DD))
    return np.asarray(shrunk_DD / np.outer(deviation_D, deviation_D))


def _inverse_root(covariance_DD: Doubles) -> Doubles:
    """F with F·Fᵀ = Σ⁻¹."""
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance_DD)).T)
