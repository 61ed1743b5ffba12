"""A scale and a shift for every channel after each linear layer, convolution and norm (SSF)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.backbone import PixelBackbone
from model.method import Apart
from model.stage import Group, Penalty, Tensors
from model.tuners import insertion
from model.tuners.partial import NORMS

SCALE, SHIFT = "ssf_scale_O", "ssf_shift_O"
LEAVES = (SCALE, SHIFT)


@dataclass(frozen=True)
class ScaleShiftTuner:
    """y ← γ·y + β, at `ratio` of the head's rate; merged into the weights after each task.

    γ starts at 1 and β at 0, so that a task begins from the base's features (SSF's own starts are normal around these,
    with a deviation of 0.02). A layer without a bias gets no β, which no plain weight could take up; a norm that holds
    an activation gets neither, its convolution's say the same.
    """

    ratio: float = 0.1

    @property
    def folds(self) -> bool:
        """γW and γb + β are plain weights."""
        return True

    def moves(self, task: int) -> bool:
        """In every task."""
        return True

    def equip(self, backbone: PixelBackbone, kept: Tensors) -> None:
        """Nothing is kept from task to task."""

    def begin(self, backbone: PixelBackbone, task: int, seed: int) -> None:
        """Scales and shifts that change nothing yet; they alone require gradients."""
        if not insertion.inserted(backbone, LEAVES):
            for name, layer in list(_places(backbone)):
                insertion.insert(backbone, _neutral(name, layer))
                layer.register_forward_hook(_scaled)
        insertion.only(backbone, insertion.inserted(backbone, LEAVES))

    def groups(self, backbone: PixelBackbone, task: int) -> list[Group]:
        """All at one rate."""
        return [Group(list(insertion.inserted(backbone, LEAVES).values()), self.ratio)]

    def penalty(self, backbone: PixelBackbone) -> Penalty | None:
        """Nothing is added."""
        return None

    def taken_apart(self, backbone: PixelBackbone) -> Apart:
        """The weights scaled and shifted."""
        apart = insertion.removed(backbone, LEAVES)
        plain = dict(apart.plain)
        for name, scale_O in apart.kept.items():
            owner, _, leaf = name.rpartition(".")
            if leaf == SCALE:
                weight = plain[f"{owner}.weight"]
                plain[f"{owner}.weight"] = weight * scale_O.reshape(-1, *[1] * (weight.ndim - 1))
                if f"{owner}.{SHIFT}" in apart.kept:
                    plain[f"{owner}.bias"] = plain[f"{owner}.bias"] * scale_O + apart.kept[f"{owner}.{SHIFT}"]
        return Apart(plain)


def _places(backbone: PixelBackbone) -> Iterator[tuple[str, nn.Module]]:
    for name, module in backbone.named_modules():
        is_layer = isinstance(module, (nn.Linear, nn.Conv2d, *NORMS))
        if is_layer and getattr(module, "weight", None) is not None and not _activates(module):
            yield name, module


def _activates(module: nn.Module) -> bool:
    return any(not isinstance(part, nn.Identity) for part in module.children())


def _neutral(name: str, layer: nn.Module) -> dict[str, Tensor]:
    count = len(layer.get_parameter("weight"))
    tensors = {f"{name}.{SCALE}": torch.ones(count)}
    if getattr(layer, "bias", None) is not None:
        tensors[f"{name}.{SHIFT}"] = torch.zeros(count)
    return tensors


def _scaled(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    by_channel = (-1, 1, 1) if isinstance(layer, (nn.Conv2d, nn.GroupNorm, *NORMS[2:])) else (-1,)
    scaled = output * layer.get_parameter(SCALE).reshape(by_channel)
    return scaled + layer.get_parameter(SHIFT).reshape(by_channel) if hasattr(layer, SHIFT) else scaled
