"""A small bottleneck beside (AdaptFormer) or after (Houlsby et al.) the MLP of each block."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from model.backbones.backbone import PixelBackbone
from model.method import Apart
from model.training.stage import Group, Penalty, Tensors
from model.tuners import insertion

DOWN, DOWN_BIAS, UP, UP_BIAS = LEAVES = ("adapter_down_RD", "adapter_down_R", "adapter_up_DR", "adapter_up_D")


@dataclass(frozen=True)
class AdapterTuner:
    """up(ReLU(down(x))) times `scale` is added to the MLP's output y; x is its input, or y itself (`sequential`).

    One adapter a block goes on through all tasks. `up` starts at 0, so that it changes nothing at first.
    """

    bottleneck: int = 64
    scale: float = 0.1
    place: Literal["parallel", "sequential"] = "parallel"
    ratio: float = 1.0

    @property
    def folds(self) -> bool:
        """It bends, so no plain weight can take it up."""
        return False

    def moves(self, task: int) -> bool:
        """In every task."""
        return True

    def equip(self, backbone: PixelBackbone, kept: Tensors) -> None:
        """Puts the kept adapters in."""
        if kept:
            self._put(backbone, kept)

    def begin(self, backbone: PixelBackbone, task: int, seed: int) -> None:
        """New adapters where there are none; they alone require gradients."""
        if not insertion.inserted(backbone, LEAVES):
            self._put(backbone, fresh(self, backbone, seed))
        insertion.only(backbone, insertion.inserted(backbone, LEAVES))

    def groups(self, backbone: PixelBackbone, task: int) -> list[Group]:
        """All at one rate."""
        return [Group(list(insertion.inserted(backbone, LEAVES).values()), self.ratio)]

    def penalty(self, backbone: PixelBackbone) -> Penalty | None:
        """Nothing is added."""
        return None

    def taken_apart(self, backbone: PixelBackbone) -> Apart:
        """The plain weights as they were, and the adapters."""
        return insertion.removed(backbone, LEAVES)

    def _put(self, backbone: PixelBackbone, tensors: Tensors) -> None:
        insertion.insert(backbone, tensors)
        for name, _ in insertion.blocks(backbone, "an adapter"):
            backbone.get_submodule(f"{name}.mlp").register_forward_hook(partial(_added, self))


def fresh(tuner: AdapterTuner, backbone: PixelBackbone, seed: int, suffix: str = "") -> dict[str, Tensor]:
    """An adapter for each block that changes nothing yet, by name; `suffix` tells several in one network apart."""
    width, tensors = backbone.token_dim, {}
    for place, (name, _) in enumerate(insertion.blocks(backbone, "an adapter")):
        down_RD = insertion.uniform((tuner.bottleneck, width), 1 / math.sqrt(width), seed, place)
        tensors[f"{name}.mlp.{DOWN}{suffix}"] = down_RD
        tensors[f"{name}.mlp.{DOWN_BIAS}{suffix}"] = torch.zeros(tuner.bottleneck)
        tensors[f"{name}.mlp.{UP}{suffix}"] = torch.zeros(width, tuner.bottleneck)
        tensors[f"{name}.mlp.{UP_BIAS}{suffix}"] = torch.zeros(width)
    return tensors


def adapted(
    tuner: AdapterTuner, mlp: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, suffix: str = ""
) -> Tensor:
    """The MLP's output with what the adapter of that suffix adds."""
    down_RD, down_R, up_DR, up_D = (mlp.get_parameter(f"{leaf}{suffix}") for leaf in LEAVES)
    taken = inputs[0] if tuner.place == "parallel" else output
    inner = nn.functional.linear(taken, down_RD, down_R).relu()
    return output + tuner.scale * nn.functional.linear(inner, up_DR, up_D)


def _added(tuner: AdapterTuner, mlp: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return adapted(tuner, mlp, inputs, output)
