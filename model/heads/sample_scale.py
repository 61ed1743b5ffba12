"""How SLCA++ makes old classes' sampled features smaller, and undoes it when the head answers (method.md 3)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import paper
from model.heads.head import Head


@dataclass(frozen=True)
class SampleScale:
    """x ← x / (1 + r·a), r uniform in [`low`, `high`) for each sample, a the tasks since the class's own."""

    low: float = paper.PLUS_SHRINK[0]
    high: float = paper.PLUS_SHRINK[1]

    def shrink(
        self, features_ND: Tensor, columns_N: Tensor, age_C: NDArray[np.int64], generator: torch.Generator
    ) -> None:
        """Shrink the features in place."""
        age_N = torch.from_numpy(age_C).to(features_ND.device)[columns_N]
        rate_N = torch.rand(len(columns_N), generator=generator, device=features_ND.device)
        rate_N = self.low + (self.high - self.low) * rate_N
        features_ND.div_((1 + rate_N * age_N)[:, None])

    def undone(self, head: Head, age_C: NDArray[np.int64]) -> Head:
        """The head whose rows, not biases, are larger by the mean shrinkage: as if its input were."""
        factor_C = 1 + (self.low + self.high) / 2 * age_C
        return Head(head.weight_CD * factor_C[:, None].astype(np.float32), head.bias_C)
