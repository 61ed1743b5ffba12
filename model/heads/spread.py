"""What each class's own spread adds to its logit: squares along few directions (`model/heads/spread_plan.py`)."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]

LARGEST_PART = 2**22
"""Numbers f·d that are held at once."""


@dataclass(frozen=True, eq=False)
class Spread:
    """constant_c + Σ_r gain_cr·(f·direction_cr − offset_cr)² is added to the logit of class c: `direction_CRD`,
    `offset_CR`, `gain_CR` and `constant_C` in float32; a class of fewer directions than others has gains of 0.

    Raises ValueError where the shapes do not belong together.
    """

    direction_CRD: Floats
    offset_CR: Floats
    gain_CR: Floats
    constant_C: Floats

    def __post_init__(self) -> None:
        for name, array in self.to_arrays().items():
            object.__setattr__(self, name, np.ascontiguousarray(array, dtype=np.float32))
        shape = self.direction_CRD.shape[:2]
        rest = (self.offset_CR.shape, self.gain_CR.shape, self.constant_C.shape)
        if self.direction_CRD.ndim != 3 or rest != (shape, shape, shape[:1]):
            raise ValueError(
                f"directions of shape {self.direction_CRD.shape} cannot have offsets, gains and constants of {rest}"
            )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats]) -> "Spread | None":
        """What `to_arrays` wrote; None where there are no such arrays."""
        if "direction_CRD" not in arrays:
            return None
        return cls(*(arrays[field.name] for field in fields(cls)))

    def to_arrays(self) -> dict[str, Floats]:
        """The arrays to store, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def class_count(self) -> int:
        """C, the number of classes."""
        return len(self.direction_CRD)

    @property
    def feature_dim(self) -> int:
        """D, the length of a feature vector."""
        return int(self.direction_CRD.shape[2])

    def rows(self, columns: ArrayLike) -> "Spread":
        """Of these columns alone, in their order."""
        chosen = np.asarray(columns, dtype=np.intp)
        return Spread(*(array[chosen] for array in self.to_arrays().values()))

    def added(self, features_ND: Floats) -> Floats:
        """`logits_NC`: what is added to each class's logit."""
        classes, count, dimension = self.direction_CRD.shape
        direction_DK = self.direction_CRD.reshape(-1, dimension).T
        added_NC = np.zeros((len(features_ND), classes), np.float32)
        rows = max(1, LARGEST_PART // max(1, classes * count))
        for first in range(0, len(features_ND), rows):
            part = slice(first, first + rows)
            along_BK = features_ND[part] @ direction_DK
            off_BCR = along_BK.reshape(len(along_BK), classes, count) - self.offset_CR
            added_NC[part] = np.einsum("bcr,cr->bc", np.square(off_BCR, out=off_BCR), self.gain_CR)
        return added_NC + self.constant_C
