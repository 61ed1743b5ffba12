"""The classifier on top of the features: a row and a bias for each class, and beside them what its spread adds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.heads.spread import Spread


@dataclass(frozen=True, eq=False)
class Head:
    """`weight_CD` and `bias_C` in float32, a row for each class in the order in which the classes arrived.

    `spread` is for heads that serve; rows of those that learn are linear alone. Raises ValueError where the shapes do
    not belong together.
    """

    weight_CD: NDArray[np.float32]
    bias_C: NDArray[np.float32]
    spread: Spread | None = None

    def __post_init__(self) -> None:
        weight_CD = np.ascontiguousarray(self.weight_CD, dtype=np.float32)
        bias_C = np.ascontiguousarray(self.bias_C, dtype=np.float32)
        if weight_CD.ndim != 2 or bias_C.shape != weight_CD.shape[:1]:
            raise ValueError(f"a head of {weight_CD.shape} weights cannot have biases of shape {bias_C.shape}")
        spread = self.spread
        if spread is not None and (spread.class_count, spread.feature_dim) != weight_CD.shape:
            raise ValueError(
                f"a head of {weight_CD.shape} weights cannot have a spread of {spread.direction_CRD.shape}"
            )
        object.__setattr__(self, "weight_CD", weight_CD)
        object.__setattr__(self, "bias_C", bias_C)

    @classmethod
    def empty(cls, feature_dim: int) -> Self:
        """A head without classes."""
        return cls(np.zeros((0, feature_dim), np.float32), np.zeros(0, np.float32))

    @classmethod
    def stack(cls, heads: Sequence["Head"]) -> Self:
        """One linear head with the classes of all, in the order given (at least one head)."""
        return cls(np.concatenate([head.weight_CD for head in heads]), np.concatenate([head.bias_C for head in heads]))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.float32]]) -> Self:
        """The head that `to_arrays` wrote."""
        return cls(arrays["weight_CD"], arrays["bias_C"], Spread.from_arrays(arrays))

    @property
    def class_count(self) -> int:
        """C, the number of classes."""
        return len(self.bias_C)

    @property
    def feature_dim(self) -> int:
        """D, the length of a feature vector."""
        return int(self.weight_CD.shape[1])

    @property
    def linear(self) -> "Head":
        """The rows alone, without what the classes' spread adds."""
        return Head(self.weight_CD, self.bias_C)

    @property
    def silent_C(self) -> NDArray[np.intp]:
        """The columns whose weights are zeros: nothing is known yet of what tells these classes from others."""
        return np.flatnonzero(~self.weight_CD.any(axis=1))

    def logits(self, features_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        """`logits_NC`: a score for each class, in float32."""
        features_ND = np.asarray(features_ND, np.float32)
        logits_NC = features_ND @ self.weight_CD.T + self.bias_C
        return logits_NC if self.spread is None else logits_NC + self.spread.added(features_ND)

    def rows(self, columns: ArrayLike) -> "Head":
        """The head of these columns alone, in their order."""
        chosen = np.asarray(columns, dtype=np.intp)
        spread = None if self.spread is None else self.spread.rows(chosen)
        return Head(self.weight_CD[chosen], self.bias_C[chosen], spread)

    def grown(self, class_count: int) -> "Head":
        """The linear head with rows of zeros for the classes to come."""
        missing = class_count - self.class_count
        return Head(np.pad(self.weight_CD, ((0, missing), (0, 0))), np.pad(self.bias_C, (0, missing)))

    def with_rows(self, columns: ArrayLike, head: "Head") -> "Head":
        """The linear head with the rows of `head` written at `columns`."""
        chosen = np.asarray(columns, dtype=np.intp)
        weight_CD, bias_C = self.weight_CD.copy(), self.bias_C.copy()
        weight_CD[chosen], bias_C[chosen] = head.weight_CD, head.bias_C
        return Head(weight_CD, bias_C)

    def to_arrays(self) -> dict[str, NDArray[np.float32]]:
        """The arrays to store, by name."""
        linear = {"weight_CD": self.weight_CD, "bias_C": self.bias_C}
        return linear if self.spread is None else linear | self.spread.to_arrays()
