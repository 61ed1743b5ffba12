"""What stage 1 of one task is made of: what moves at which rate, the loss over the head, and what is added to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.backbones.backbone import PixelBackbone

Tensors = Mapping[str, Tensor]


class LabelledImages(Protocol):
    """A task's training images: decoded pixels on demand, and the position of each one's class in the head."""

    @property
    def columns_N(self) -> NDArray[np.int64]:
        """The position in the trained head of each image's class."""

    def __len__(self) -> int: ...

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Image `index`, H×W×3 RGB."""


@dataclass(frozen=True, eq=False)
class Step:
    """One micro-batch on its way to a gradient; `seed` is a number for all that a penalty draws in it.

    `weight_CD` and `bias_C` are the trained head, `columns_B` positions in it, `features_BD` and `logits_BC` carry
    gradients.
    """

    backbone: PixelBackbone
    weight_CD: Tensor
    bias_C: Tensor
    pixels_BHWC: Tensor
    columns_B: Tensor
    features_BD: Tensor
    logits_BC: Tensor
    seed: int

    def logits_of(self, pixels_BHWC: Tensor) -> Tensor:
        """The logits of other images through the network and the head as they are now."""
        return nn.functional.linear(self.backbone(pixels_BHWC), self.weight_CD, self.bias_C)


class Penalty(Protocol):
    """What a regulariser, a memory or a tuner adds to the loss of one task; `loss_weight` scales the objective."""

    loss_weight: float

    def __call__(self, step: Step) -> Tensor:
        """A scalar that is added to the mean loss of the micro-batch."""

    def state(self) -> dict[str, Tensor]:
        """What the rest of the run depends on, copied: stored with each checkpoint."""

    def take(self, state: Tensors) -> None:
        """Go on from what `state` wrote."""


class Objective(Protocol):
    """The loss on the logits of the classes that are told apart."""

    def __call__(self, logits_BC: Tensor, columns_B: Tensor) -> Tensor:
        """The sum over the images, a scalar."""


@dataclass(frozen=True)
class CrossEntropy:
    """−log p_y."""

    def __call__(self, logits_BC: Tensor, columns_B: Tensor) -> Tensor:
        """The sum over the images, a scalar."""
        return nn.functional.cross_entropy(logits_BC.float(), columns_B, reduction="sum")


@dataclass(frozen=True)
class SymmetricCrossEntropy:
    """`a`·CE + `b`·RCE, RCE = −Σ_k p_k·log(clamp(onehot_k, 1e-4, 1)), p clamped at 1e-7 (SLCA++, method.md 3)."""

    a: float = 1.0
    b: float = 0.1

    def __call__(self, logits_BC: Tensor, columns_B: Tensor) -> Tensor:
        """The sum over the images, a scalar."""
        logits_BC = logits_BC.float()
        onehot_BC = nn.functional.one_hot(columns_B, logits_BC.shape[1]).to(logits_BC.dtype).clamp(1e-4, 1.0)
        probability_BC = logits_BC.softmax(dim=1).clamp(1e-7, 1.0)
        reverse = -(probability_BC * onehot_BC.log()).sum()
        return self.a * nn.functional.cross_entropy(logits_BC, columns_B, reduction="sum") + self.b * reverse


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters that move at `scale` times `ratio` of the head's rate; ratio None: times the plan's backbone rate."""

    parameters: Sequence[nn.Parameter]
    ratio: float | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Optimisation:
    """How a method steps, where it differs from the plan; None leaves the plan's word.

    `cosine` falls from each rate to `floor_lr` along the epochs, or where that is None to a tenth of the head's rate
    times the plan's `gamma` for each of its milestones (SLCA++); `quarter_cosine` falls nearly to 0 along the first
    quarter of the wave, so later (CODA-Prompt); `constant` does not fall.
    `lr_per_256` is the head's rate for a batch of 256, scaled with the batch. `clip_norm` limits the gradient's norm
    over all parameters.
    """

    optimiser: Literal["sgd", "adam"] = "sgd"
    schedule: Literal["step", "cosine", "quarter_cosine", "constant"] = "step"
    floor_lr: float | None = 0.0
    head_lr: float | None = None
    lr_per_256: float | None = None
    weight_decay: float | None = None
    clip_norm: float | None = None


@dataclass(frozen=True, eq=False)
class Stage:
    """Stage 1 of one task. `block_B` are the head's positions that the objective tells apart; None: all."""

    groups: Sequence[Group]
    objective: Objective = field(default_factory=CrossEntropy)
    block_B: NDArray[np.int64] | None = None
    penalties: Sequence[Penalty] = ()
    optimisation: Optimisation = Optimisation()

    @classmethod
    def of_moving(cls, backbone: PixelBackbone) -> "Stage":
        """All that requires gradients, at the plan's backbone rate, under cross-entropy over the whole head."""
        return cls([Group([p for p in backbone.parameters() if p.requires_grad])])

    def loss(self, logits_BC: Tensor, columns_B: Tensor) -> Tensor:
        """The objective's sum over the images."""
        if self.block_B is None:
            return self.objective(logits_BC, columns_B)
        block_B = torch.from_numpy(self.block_B).to(logits_BC.device)
        return self.objective(logits_BC[:, block_B], torch.searchsorted(block_B, columns_B))

    @property
    def loss_weight(self) -> float:
        """What the objective is scaled by: the product of the penalties' wishes."""
        return float(np.prod([penalty.loss_weight for penalty in self.penalties]))
