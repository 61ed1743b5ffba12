"""Is an image of any class that the version knows? Free of torch.

Each class is a Gaussian with the pooled covariance; an image is as far as its nearest class (Mahalanobis). The relative
form subtracts the distance to one Gaussian of all features (Ren et al. 2021, arXiv 2106.09022). An image counts as
`known` where its score reaches the threshold, set so that a stated rate of known images do.

A rule may stand on the first K of a feature's D numbers: on the class token alone where the mean of the patch tokens
stands behind it (`BackboneSpec.novelty_dim`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from model.shrinkage import oracle_shrunk
from model.statistics import ClassStatistics

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

KNOWN_RATE = 0.95
"""Rate of images of known classes that shall be called known."""

SAMPLES = 64
"""Sampled features a class, where no held-out image can fit the threshold."""


@dataclass(frozen=True, eq=False)
class NoveltyRule:
    """Whitened class means, what whitens a feature, and the least score of a known image.

    `whitening_KK` maps the first K of each feature's D ≥ K numbers, the others are not read; `centre_CK` holds the
    whitened means. `background_KK` and `background_K` are the same for all features together; empty where the score is
    not relative.
    """

    whitening_KK: Floats
    centre_CK: Floats
    background_KK: Floats
    background_K: Floats
    threshold: float

    @property
    def dimension(self) -> int:
        """K, how many numbers of a feature are read."""
        return len(self.whitening_KK)

    @property
    def relative(self) -> bool:
        """Whether the distance to all features together is subtracted."""
        return len(self.background_K) > 0

    def distances(self, features_ND: Floats) -> Floats:
        """Squared Mahalanobis distance to every class (relative where the rule is), N×C."""
        features_NK = features_ND[:, : self.dimension]
        distance_NC = _squared_distances(features_NK @ self.whitening_KK, self.centre_CK)
        if not self.relative:
            return distance_NC
        return distance_NC - _squared_distances(features_NK @ self.background_KK, self.background_K[None])

    def scores(self, features_ND: Floats) -> Floats:
        """−distance to the nearest class, N: the higher, the better known."""
        return np.asarray(-self.distances(features_ND).min(axis=1))

    def known(self, features_ND: Floats) -> NDArray[np.bool_]:
        """Which images reach the threshold, N."""
        return self.scores(features_ND) >= self.threshold

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Plain arrays for storage, under the names that they had when every rule was of all D numbers."""
        return {
            "whitening_DD": self.whitening_KK,
            "centre_CD": self.centre_CK,
            "background_DD": self.background_KK,
            "background_D": self.background_K,
            "threshold": np.array([self.threshold]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "NoveltyRule":
        """The rule that `to_arrays` wrote; raises KeyError where an array is missing, ValueError where they do not
        belong together.
        """
        whitening_KK, centre_CK, background_KK, background_K = (
            arrays[name].astype(np.float32) for name in ("whitening_DD", "centre_CD", "background_DD", "background_D")
        )
        square, row = (len(whitening_KK),) * 2, (len(whitening_KK),)
        fits = whitening_KK.shape == square and centre_CK.shape[1:] == row
        if len(background_K):
            fits = fits and background_KK.shape == square and background_K.shape == row
        # Checked here: as features may be longer, products with a rule that lacks rows would not fail.
        if not fits:
            raise ValueError("the arrays of a rule for unknown images are not of one length")
        return cls(
            whitening_KK, centre_CK, background_KK, background_K, float(arrays["threshold"].astype(np.float64)[0])
        )


def fit_novelty(
    statistics: ClassStatistics,
    features_ND: Floats,
    columns_N: Ints,
    *,
    rate: float = KNOWN_RATE,
    seed: int = 0,
) -> NoveltyRule:
    """The rule over these statistics whose threshold lets `rate` of the held-out features pass.

    It reads as many numbers of a feature as the statistics are of; the features (N×D) may be longer. Plain or relative
    is chosen by which tells them better from themselves with their own class taken away.
    Without held-out features the statistics are sampled. Raises ValueError where no class has images.
    """
    if not statistics.count_C.any():
        raise ValueError("no class has images")
    if len(features_ND) == 0:
        features_ND, columns_N = statistics.sample(SAMPLES, np.random.default_rng(seed), ridge=1e-4)
    rules = [_plain(statistics), _relative(statistics)]
    best = max(rules, key=lambda rule: left_out_auroc(rule, features_ND, columns_N))
    return replace(best, threshold=float(np.quantile(best.scores(features_ND), 1 - rate, method="lower")))


def left_out_auroc(rule: NoveltyRule, features_ND: Floats, columns_N: Ints) -> float:
    """How well scores tell images from the same images with their own class unknown; 0.5 with a single class."""
    distance_NC = rule.distances(features_ND)
    if distance_NC.shape[1] < 2:
        return 0.5
    known_N = -distance_NC.min(axis=1)
    distance_NC[np.arange(len(columns_N)), columns_N] = np.inf
    return auroc(known_N, -distance_NC.min(axis=1))


def auroc(known_N: Floats, unknown_M: Floats) -> float:
    """The chance that a known image scores above an unknown one, ties counting half."""
    sorted_M = np.sort(unknown_M)
    below_N = np.searchsorted(sorted_M, known_N, side="left")
    up_to_N = np.searchsorted(sorted_M, known_N, side="right")
    return float((below_N + up_to_N).mean() / (2 * len(sorted_M)))


def _plain(statistics: ClassStatistics) -> NoveltyRule:
    whitening_KK = _whitening(oracle_shrunk(statistics.pooled_covariance(), statistics.freedom))
    mean_CK = statistics.mean_CD.astype(np.float64)
    none_KK, none_K = np.zeros((0, statistics.dimension), np.float32), np.zeros(0, np.float32)
    return NoveltyRule(
        whitening_KK.astype(np.float32), (mean_CK @ whitening_KK).astype(np.float32), none_KK, none_K, 0.0
    )


def _relative(statistics: ClassStatistics) -> NoveltyRule:
    mean_K, covariance_KK = statistics.overall()
    background_KK = _whitening(oracle_shrunk(covariance_KK, max(0, int(statistics.count_C.sum()) - 1)))
    return replace(
        _plain(statistics),
        background_KK=background_KK.astype(np.float32),
        background_K=(mean_K @ background_KK).astype(np.float32),
    )


def _whitening(covariance_KK: NDArray[np.float64]) -> NDArray[np.float64]:
    """W with f·W of unit covariance: the transposed inverse of the lower Cholesky factor."""
    lower_KK = cholesky(covariance_KK, lower=True)
    return np.asarray(solve_triangular(lower_KK, np.eye(len(lower_KK)), lower=True).T)


def _squared_distances(rows_NK: Floats, centre_CK: Floats) -> Floats:
    """‖row − centre‖², N×C, with both shifted to the centres' mean so that float32 keeps its digits."""
    origin_K = centre_CK.mean(axis=0)
    row_NK, shifted_CK = rows_NK - origin_K, centre_CK - origin_K
    return np.asarray((row_NK**2).sum(axis=1)[:, None] - 2 * row_NK @ shifted_CK.T + (shifted_CK**2).sum(axis=1)[None])
