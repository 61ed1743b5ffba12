"""What is remembered of each class: how many images, their mean feature, and a factor A of their covariance, Σ = AᵀA.

Covariances are unbiased (divided by n − 1) and carry no ridge; whoever samples adds it. A class of n images has a
factor of exactly n − 1 rows while n ≤ D, and of D rows beyond. Everything merges exactly, in any order and number of
parts, as long as all parts lie in one feature space: the rows are those of Welford's update, √(k/(k+1))·(x − mean of
the k before), and merging two parts adds the one row √(n_a·n_b/n)·(mean_b − mean_a) (Chan, Golub and LeVeque 1979).

An image may be seen in several views. It still counts once: each of its V views weighs 1/V, in the mean and in the
covariance. Of the V·n − 1 rows that these make, the n − 1 directions of greatest variance are kept, lengthened so that
the variance of all directions together stays; a single image has no covariance, however it was seen. Of parts that were
seen so, means and counts still merge exactly; covariances differ by what each part left out.

Statistics that were carried into another space (`model/statistics/drift.py`) also say how far their means may be off
there. The covariance is that of the images; what is known of where a new image of the class lies is wider by that
error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from model.stopping import Check, unchecked

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

STACKED_ROWS = 4096
"""Of factors that are multiplied at once: one product is faster than many, and needs them in memory together."""


class NotFinite(ValueError):
    """Features that are no finite numbers: those of a network whose training diverged."""


@dataclass(frozen=True, eq=False)
class ClassStatistics:
    """Count, mean and covariance factor by column: `count_C`, `mean_CD`, and C factors of R_c×D; float32 but the
    counts.

    `drift_error_C` is the deviation, the same in every direction, of what carrying left wrong in each mean; 0 where
    the images were seen in the present space. A class without images has count 0, a mean of zeros and a factor of no
    rows.
    """

    count_C: Ints
    mean_CD: Floats
    factors: tuple[Floats, ...]
    drift_error_C: Floats

    @classmethod
    def empty(cls, dimension: int, class_count: int = 0) -> "ClassStatistics":
        """The statistics of `class_count` classes of which nothing was seen, features of `dimension` numbers."""
        return StatisticsAccumulator(dimension, class_count).finish()

    @classmethod
    def from_features(
        cls,
        features_ND: NDArray[np.floating],
        columns_N: Ints,
        class_count: int,
        *other_views_ND: NDArray[np.floating],
    ) -> "ClassStatistics":
        """The statistics of these features, whose classes are `columns_N`, and of other views of the same images."""
        accumulator = StatisticsAccumulator(features_ND.shape[1], class_count)
        accumulator.add(features_ND, columns_N, *other_views_ND)
        return accumulator.finish()

    @property
    def class_count(self) -> int:
        """How many columns there are."""
        return len(self.count_C)

    @property
    def dimension(self) -> int:
        """D, the length of a feature."""
        return int(self.mean_CD.shape[1])

    def merged(self, other: "ClassStatistics") -> "ClassStatistics":
        """Both together, column by column; the shorter one counts as having no images of the columns that it lacks."""
        accumulator = StatisticsAccumulator(self.dimension, max(self.class_count, other.class_count))
        accumulator.merge(self)
        accumulator.merge(other)
        return accumulator.finish()

    def without(self, column: int) -> "ClassStatistics":
        """All but one class; the columns behind it move up."""
        return self.rows(np.delete(np.arange(self.class_count), column))

    def rows(self, columns: Ints) -> "ClassStatistics":
        """These columns alone, in this order."""
        factors = tuple(self.factors[c] for c in columns)
        return ClassStatistics(self.count_C[columns], self.mean_CD[columns], factors, self.drift_error_C[columns])

    def leading(self, dimension: int) -> "ClassStatistics":
        """The statistics of the first `dimension` numbers of each feature: the Gaussians' marginals.

        Means and factors are cut. Counts stay, and with them degrees of freedom; so do drift errors, which are the same
        in every direction. Raises ValueError where features are not so long.
        """
        if not 0 < dimension <= self.dimension:
            raise ValueError(f"features of {self.dimension} numbers have no first {dimension}")
        if dimension == self.dimension:
            return self
        factors = tuple(factor_RD[:, :dimension] for factor_RD in self.factors)
        return ClassStatistics(self.count_C, self.mean_CD[:, :dimension], factors, self.drift_error_C)

    def covariance(self, column: int) -> Doubles:
        """Σ of one class, D×D, without ridge; zeros for fewer than two images."""
        factor_RD = self.factors[column].astype(np.float64)
        return factor_RD.T @ factor_RD

    def pooled_covariance(self, check: Check = unchecked) -> Doubles:
        """Σ_c (n_c − 1)·Σ_c / Σ_c (n_c − 1), D×D: what the classes have in common; zeros if no class has two images.

        `check` is called after each product and may raise to stop.
        """
        scatter_DD = np.zeros((self.dimension, self.dimension))
        stacked: list[Doubles] = []
        for column in np.flatnonzero(self.count_C > 1):
            stacked.append(self.factors[column].astype(np.float64) * np.sqrt(self.count_C[column] - 1))
            if sum(map(len, stacked)) >= STACKED_ROWS:
                scatter_DD += _gram(stacked)
                stacked = []
                check()
        if stacked:
            scatter_DD += _gram(stacked)
            check()
        return scatter_DD / max(1, self.freedom)

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the pooled covariance: Σ_c (n_c − 1)."""
        return int(np.maximum(self.count_C - 1, 0).sum())

    @property
    def drift_variance_C(self) -> Doubles:
        """Variance of each mean's drift error, in every direction."""
        return np.square(self.drift_error_C, dtype=np.float64)

    def sample(self, per_class: int, rng: np.random.Generator, ridge: float) -> tuple[Floats, Ints]:
        """Features drawn from N(mean_c, Σ_c + (ridge + drift error²)·I), and their columns; classes without images are
        left out.
        """
        present = np.flatnonzero(self.count_C)
        drawn = [self._draw(int(column), per_class, rng, ridge) for column in present]
        features_ND = np.concatenate(drawn) if drawn else np.zeros((0, self.dimension), np.float32)
        return features_ND, np.repeat(present, per_class).astype(np.int64)

    def _draw(self, column: int, count: int, rng: np.random.Generator, ridge: float) -> Floats:
        factor_RD = self.factors[column]
        inner_NR = rng.standard_normal((count, len(factor_RD)), dtype=np.float32)
        outer_ND = rng.standard_normal((count, self.dimension), dtype=np.float32)
        deviation = np.float32(np.sqrt(ridge + self.drift_variance_C[column]))
        drawn_ND = self.mean_CD[column] + inner_NR @ factor_RD + deviation * outer_ND
        return np.asarray(drawn_ND, dtype=np.float32)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Plain arrays for storage: counts, means, the factors stacked, how many rows each has, and drift errors."""
        rank_C = np.array([len(factor_RD) for factor_RD in self.factors], dtype=np.int64)
        stacked_RD = np.concatenate([np.zeros((0, self.dimension), np.float32), *self.factors])
        return {
            "count_C": self.count_C,
            "mean_CD": self.mean_CD,
            "rank_C": rank_C,
            "factor_RD": stacked_RD,
            "drift_error_C": self.drift_error_C,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "ClassStatistics":
        """The statistics that `to_arrays` wrote; versions before 0.4 name no drift errors, which then are 0.

        Raises KeyError or ValueError for anything else.
        """
        arrays = {"drift_error_C": np.zeros(len(arrays["count_C"]), np.float32), **arrays}
        ends_C = np.cumsum(arrays["rank_C"].astype(np.int64))
        stacked_RD = arrays["factor_RD"].astype(np.float32)
        if len({len(arrays[name]) for name in ("count_C", "mean_CD", "rank_C", "drift_error_C")}) > 1:
            raise ValueError("counts, means, ranks and drift errors are of different numbers of classes")
        if len(stacked_RD) != (int(ends_C[-1]) if len(ends_C) else 0):
            raise ValueError(f"{len(stacked_RD)} factor rows do not make the ranks that are named")
        factors = tuple(np.split(stacked_RD, ends_C[:-1])) if len(ends_C) else ()
        return cls(
            arrays["count_C"].astype(np.int64),
            arrays["mean_CD"].astype(np.float32),
            factors,
            arrays["drift_error_C"].astype(np.float32),
        )


class StatisticsAccumulator:
    """Adds features, or whole statistics, in any number of parts; float64 throughout."""

    def __init__(self, dimension: int, class_count: int) -> None:
        self._dimension = dimension
        self._classes = [_Moments(dimension) for _ in range(class_count)]

    def add(self, features_ND: NDArray[np.floating], columns_N: Ints, *other_views_ND: NDArray[np.floating]) -> None:
        """Adds one part, and other views of its images.

        Raises NotFinite, and ValueError for features of another shape.
        """
        views = (features_ND, *other_views_ND)
        for view_ND in views:
            if view_ND.shape != (len(columns_N), self._dimension):
                raise ValueError(f"features of shape {view_ND.shape} for {len(columns_N)} images of {self._dimension}")
            if not np.isfinite(view_ND).all():
                raise NotFinite("a feature is not a finite number")
        for column in np.unique(columns_N):
            of_class_N = columns_N == column
            self._classes[column].add(np.stack([view_ND[of_class_N] for view_ND in views]).astype(np.float64))

    def merge(self, statistics: ClassStatistics) -> None:
        """Adds what other statistics hold, column by column."""
        for moments, count, mean_D, factor_RD, error in zip(
            self._classes,
            statistics.count_C,
            statistics.mean_CD,
            statistics.factors,
            statistics.drift_error_C,
            strict=False,
        ):
            scatter_RD = factor_RD.astype(np.float64) * np.sqrt(max(int(count) - 1, 0))
            moments.merge(int(count), mean_D.astype(np.float64), scatter_RD, float(error))

    def finish(self) -> ClassStatistics:
        """What was added so far, as float32."""
        return ClassStatistics(
            np.array([moments.count for moments in self._classes], dtype=np.int64),
            np.array([moments.mean_D for moments in self._classes], dtype=np.float32).reshape(-1, self._dimension),
            tuple(moments.factor() for moments in self._classes),
            np.array([moments.drift_error for moments in self._classes], dtype=np.float32),
        )


class _Moments:
    """Count, mean, its drift error, and rows whose outer products sum to the scatter, for one class."""

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self.mean_D: Doubles = np.zeros(dimension)
        self.drift_error = 0.0
        self._scatter_RD: Doubles = np.zeros((0, dimension))

    def add(self, features_VND: Doubles) -> None:
        views, images = features_VND.shape[:2]
        features_ND = features_VND.reshape(views * images, -1)
        scatter_RD = _welford_rows(features_ND)
        if views > 1:
            scatter_RD = principal(scatter_RD / np.sqrt(views), images - 1)
        self.merge(images, features_ND.mean(axis=0), scatter_RD)

    def merge(self, count: int, mean_D: Doubles, scatter_RD: Doubles, drift_error: float = 0.0) -> None:
        if count == 0:
            return
        shift_D, total = mean_D - self.mean_D, self.count + count
        parts = [self._scatter_RD, scatter_RD]
        if self.count:
            parts.append(np.sqrt(self.count * count / total) * shift_D[None])
        self.mean_D = self.mean_D + shift_D * (count / total)
        self.drift_error = (self.count * self.drift_error + count * drift_error) / total
        self.count = total
        self._scatter_RD = _compressed(np.concatenate(parts), most_rows=2 * len(mean_D))

    def factor(self) -> Floats:
        rows_RD = _compressed(self._scatter_RD, most_rows=len(self.mean_D))
        return np.asarray(rows_RD / np.sqrt(max(1, self.count - 1)), dtype=np.float32)


def _welford_rows(features_ND: Doubles) -> Doubles:
    """n − 1 rows whose outer products sum to the scatter about the mean, exactly."""
    origin_D = features_ND[0]
    centred_ND = features_ND - origin_D
    before_N1 = np.arange(1, len(features_ND))[:, None]
    mean_before_ND = np.cumsum(centred_ND, axis=0)[:-1] / before_N1
    return np.asarray(np.sqrt(before_N1 / (before_N1 + 1)) * (centred_ND[1:] - mean_before_ND))


def _compressed(rows_RD: Doubles, *, most_rows: int) -> Doubles:
    """The same sum of outer products in D rows where there are more than `most_rows` (the R of a QR decomposition)."""
    if len(rows_RD) <= max(most_rows, rows_RD.shape[1]):
        return rows_RD
    return np.asarray(qr(rows_RD, mode="r", check_finite=False)[0][: rows_RD.shape[1]])


def principal(rows_RD: Doubles, most_rows: int) -> Doubles:
    """The `most_rows` directions of greatest variance of rows whose outer products sum to a scatter, each with its
    share of what is left out; the rows themselves where there are no more.
    """
    rows_RD = _compressed(rows_RD, most_rows=rows_RD.shape[1])
    if len(rows_RD) <= most_rows:
        return rows_RD
    _, deviation_R, directions_RD = np.linalg.svd(rows_RD, full_matrices=False)
    variance_R = deviation_R**2
    kept = variance_R[:most_rows].sum()
    lengthened = np.sqrt(variance_R.sum() / kept) if kept > 0 else 1.0
    return np.asarray(lengthened * deviation_R[:most_rows, None] * directions_RD[:most_rows])


def _gram(stacked: Sequence[Doubles]) -> Doubles:
    rows_ND = np.concatenate(stacked)
    return np.asarray(rows_ND.T @ rows_ND)
