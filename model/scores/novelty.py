"""Is an image of any class that the version knows? Free of torch.

Each class is a Gaussian with the pooled covariance; an image is as far as its nearest class (Mahalanobis). Most of that
distance is the same to all classes and says little of any, so the distance to the middle of all classes is taken off
(`docs/decisions/0024-unknown-images-beside-the-middle.md`): what is left is how much nearer to a class than to all of
them together. How unusual the image is among all classes counts beside it, with a weight. An image counts as `known`
where its score reaches the threshold, set so that a stated rate of known images do.

A rule may stand on the first K of a feature's D numbers: on the class token alone where the mean of the patch tokens
stands behind it (`BackboneSpec.novelty_dim`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from model import paper
from model.statistics.class_statistics import ClassStatistics
from model.statistics.shrinkage import oracle_shrunk

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

KNOWN_RATE = 0.95
"""Rate of images of known classes that shall be called known."""

SAMPLES = 64
"""Sampled features a class, where no held-out image can fit the threshold."""


UNUSUAL = 0.25
"""How much an unusual distance to the middle counts beside nearness, each over its spread among known images."""


@dataclass(frozen=True, eq=False)
class NoveltyRule:
    """Whitened class means, what whitens a feature, and the least score of a known image.

    `whitening_KK` maps the first K of each feature's D ≥ K numbers, the others are not read; `centre_CK` holds the
    whitened means and `middle_K` the whitened middle of the classes. An image's distance to it is `usual` among known
    ones, and what it differs from that by counts with `weight`. Empty, as in a rule of one class, it has no part.
    `middle_whitening_KK` is what whitens a feature before its distance to the middle is taken, in rules of older code;
    empty where it is the same as for the classes.
    """

    whitening_KK: Floats
    centre_CK: Floats
    middle_K: Floats
    threshold: float
    usual: float = 0.0
    weight: float = 0.0
    middle_whitening_KK: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    @property
    def dimension(self) -> int:
        """K, how many numbers of a feature are read."""
        return len(self.whitening_KK)

    def nearness(self, features_ND: Floats) -> tuple[Floats, Floats]:
        """By how much the nearest class is nearer than the middle, and how far the middle is: squared Mahalanobis
        distances, N each.
        """
        features_NK = features_ND[:, : self.dimension]
        nearest_N = _squared_distances(features_NK @ self.whitening_KK, self.centre_CK).min(axis=1)
        if not len(self.middle_K):
            return -nearest_N, np.zeros_like(nearest_N)
        whitening_KK = self.middle_whitening_KK if len(self.middle_whitening_KK) else self.whitening_KK
        middle_N = _squared_distances(features_NK @ whitening_KK, self.middle_K[None])[:, 0]
        return middle_N - nearest_N, middle_N

    def scores(self, features_ND: Floats) -> Floats:
        """The higher, the better known, N."""
        nearer_N, middle_N = self.nearness(features_ND)
        return np.asarray(nearer_N - np.float32(self.weight) * np.abs(middle_N - np.float32(self.usual)))

    def known(self, features_ND: Floats) -> NDArray[np.bool_]:
        """Which images reach the threshold, N."""
        return self.scores(features_ND) >= self.threshold

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Plain arrays for storage, under the names that they had when every rule was of all D numbers."""
        return {
            "whitening_DD": self.whitening_KK,
            "centre_CD": self.centre_CK,
            "background_DD": self.middle_whitening_KK,
            "background_D": self.middle_K,
            "unusual": np.array([self.usual, self.weight]),
            "threshold": np.array([self.threshold]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "NoveltyRule":
        """The rule that `to_arrays` wrote, also that of older code, without `unusual`.

        Raises KeyError where an array is missing, ValueError where they do not belong together.
        """
        whitening_KK, centre_CK, background_KK, middle_K = (
            arrays[name].astype(np.float32) for name in ("whitening_DD", "centre_CD", "background_DD", "background_D")
        )
        unusual = arrays.get("unusual", np.zeros(2)).astype(np.float64)
        square, row = (len(whitening_KK),) * 2, (len(whitening_KK),)
        fits = whitening_KK.shape == square and centre_CK.shape[1:] == row and unusual.shape == (2,)
        if len(middle_K):
            fits = fits and middle_K.shape == row and (not len(background_KK) or background_KK.shape == square)
        # Checked here: as features may be longer, products with a rule that lacks rows would not fail.
        if not fits:
            raise ValueError("the arrays of a rule for unknown images are not of one length")
        threshold = float(arrays["threshold"].astype(np.float64)[0])
        usual, weight = (float(one) for one in unusual)
        return cls(whitening_KK, centre_CK, middle_K, threshold, usual, weight, background_KK)


def fit_novelty(
    statistics: ClassStatistics, features_ND: Floats, *, rate: float = KNOWN_RATE, seed: int = 0
) -> NoveltyRule:
    """The rule over these statistics whose threshold lets `rate` of the held-out features pass.

    It reads as many numbers of a feature as the statistics are of; the features (N×D) may be longer. Without any the
    statistics are sampled. Raises ValueError where no class has images.
    """
    if not statistics.count_C.any():
        raise ValueError("no class has images")
    if len(features_ND) == 0:
        features_ND, _ = statistics.sample(SAMPLES, np.random.default_rng(seed), paper.RIDGE)
    rule = _beside_the_middle(_of_classes(statistics), statistics, features_ND)
    return replace(rule, threshold=float(np.quantile(rule.scores(features_ND), 1 - rate, method="lower")))


def auroc(known_N: Floats, unknown_M: Floats) -> float:
    """The chance that a known image scores above an unknown one, ties counting half."""
    sorted_M = np.sort(unknown_M)
    below_N = np.searchsorted(sorted_M, known_N, side="left")
    up_to_N = np.searchsorted(sorted_M, known_N, side="right")
    return float((below_N + up_to_N).mean() / (2 * len(sorted_M)))


def _of_classes(statistics: ClassStatistics) -> NoveltyRule:
    """The distance to the nearest class alone."""
    whitening_KK = _whitening(oracle_shrunk(statistics.pooled_covariance(), statistics.freedom))
    centre_CK = statistics.mean_CD.astype(np.float64) @ whitening_KK
    return NoveltyRule(
        whitening_KK.astype(np.float32), centre_CK.astype(np.float32), np.zeros(0, np.float32), threshold=0.0
    )


def _beside_the_middle(rule: NoveltyRule, statistics: ClassStatistics, features_ND: Floats) -> NoveltyRule:
    """With the middle of the classes, where there are several: one class is its own."""
    present_C = statistics.count_C > 0
    if present_C.sum() < 2:
        return rule
    rule = replace(rule, middle_K=rule.centre_CK[present_C].mean(axis=0, dtype=np.float64).astype(np.float32))
    nearer_N, middle_N = rule.nearness(features_ND)
    spread = _spread(middle_N)
    weight = UNUSUAL * _spread(nearer_N) / spread if spread else 0.0
    return replace(rule, usual=float(np.median(middle_N)), weight=weight)


def _spread(values_N: Floats) -> float:
    """From the first quartile to the third."""
    first, third = np.percentile(values_N, [25, 75])
    return float(third - first)


def _whitening(covariance_KK: NDArray[np.float64]) -> NDArray[np.float64]:
    """W with f·W of unit covariance: the transposed inverse of the lower Cholesky factor."""
    lower_KK = cholesky(covariance_KK, lower=True)
    return np.asarray(solve_triangular(lower_KK, np.eye(len(lower_KK)), lower=True).T)


def _squared_distances(rows_NK: Floats, centre_CK: Floats) -> Floats:
    """‖row − centre‖², N×C, with both shifted to the centres' mean so that float32 keeps its digits."""
    origin_K = centre_CK.mean(axis=0)
    row_NK, shifted_CK = rows_NK - origin_K, centre_CK - origin_K
    return np.asarray((row_NK**2).sum(axis=1)[:, None] - 2 * row_NK @ shifted_CK.T + (shifted_CK**2).sum(axis=1)[None])
