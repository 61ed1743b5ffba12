"""Methods of continual learning, each a composition; a new one is one line in the table.

A method says how the backbone moves (tuner), what is done with the head afterwards (aligner), how what is remembered of
old classes follows the backbone (drift), and how far a task may take the weights (averaging).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model import paper
from model.alignment import AlignmentPlan
from model.backbone import PixelBackbone
from model.drift import IDENTITY, STRENGTH, DriftMap, RidgeMap


class Tuner(Protocol):
    """How the backbone moves in stage 1."""

    @property
    def ratio(self) -> float:
        """Learning rate of the backbone over that of the head."""

    def prepare(self, backbone: PixelBackbone) -> None:
        """Marks what shall move as requiring gradients, and nothing else."""


@dataclass(frozen=True)
class FullTuner:
    """Every parameter moves, at `ratio` of the head's rate."""

    ratio: float = paper.BACKBONE_RATIO

    def prepare(self, backbone: PixelBackbone) -> None:
        """Everything requires gradients."""
        backbone.requires_grad_(True)


@dataclass(frozen=True)
class FrozenTuner:
    """The backbone stands still; only heads learn."""

    ratio: float = 0.0

    def prepare(self, backbone: PixelBackbone) -> None:
        """Nothing requires gradients."""
        backbone.requires_grad_(False)


@dataclass(frozen=True)
class RidgeDrift:
    """Statistics of old classes follow the backbone through a linear map, pulled towards the identity by `strength`."""

    strength: float = STRENGTH

    def fit(self, features_old_ND: NDArray[np.float32], features_new_ND: NDArray[np.float32]) -> DriftMap:
        """The map from the same images' features before and after; the identity where nothing moved."""
        if np.array_equal(features_old_ND, features_new_ND):
            return IDENTITY
        return RidgeMap.fit(features_old_ND, features_new_ND, self.strength)


@dataclass(frozen=True)
class Averaging:
    """After each task the weights are `weight` of the tuned ones and the rest of those before (CoMA)."""

    weight: float = 0.5

    def mixed(self, before: Mapping[str, Tensor], tuned: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mixture, name by name; what is no floating number is the tuned one's."""
        return {
            name: before[name].lerp(tensor, self.weight) if tensor.is_floating_point() else tensor
            for name, tensor in tuned.items()
        }


@dataclass(frozen=True)
class Method:
    """`aligner` None leaves the head as stage 1 made it; `drift` None keeps old statistics as they were stored."""

    tuner: Tuner
    aligner: AlignmentPlan | None = None
    drift: RidgeDrift | None = None
    averaging: Averaging | None = None


METHODS: dict[str, Method] = {
    "slca": Method(FullTuner(), AlignmentPlan()),
    "slca+drift": Method(FullTuner(), AlignmentPlan(), RidgeDrift()),
    "sl": Method(FullTuner()),
    "seq_ft": Method(FullTuner(ratio=1.0)),
    "frozen": Method(FrozenTuner(), AlignmentPlan()),
}
"""`slca` is the paper's, `sl` its slow learner alone, `seq_ft` one large rate for all, `frozen` alignment alone."""
