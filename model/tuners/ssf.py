"""A scale and a shift for every channel after each linear layer, convolution and norm (SSF)."""

from dataclasses import dataclass

import torch
from timm.layers.norm import LayerNorm2d, LayerNorm2dFp32, LayerNormExp2d
from timm.layers.norm_act import LayerNormAct2d, LayerNormAct2dFp32
from timm.layers.std_conv import ScaledStdConv2d, ScaledStdConv2dSame, StdConv2d, StdConv2dSame
from torch import Tensor, nn

from model.backbones.backbone import PixelBackbone
from model.method import Apart
from model.training.stage import Group, Penalty, Tensors
from model.tuners import insertion
from model.tuners.partial import NORMS

SCALE, SHIFT = "ssf_scale_O", "ssf_shift_O"
LEAVES = (SCALE, SHIFT)

CHANNEL_FIRST = (LayerNorm2d, LayerNorm2dFp32, LayerNormExp2d, LayerNormAct2d, LayerNormAct2dFp32)
"""timm's LayerNorms over images N×C×H×W, where torch's own has the channels last."""

STANDARDISED = (StdConv2d, StdConv2dSame)
"""Convolutions that bring their weights to unit variance whatever their scale is, so that no γ could fold into them."""

GAINED = (ScaledStdConv2d, ScaledStdConv2dSame)
"""The same with a gain for each channel behind it, which takes γ up."""


@dataclass(frozen=True)
class ScaleShiftTuner:
    """y ← γ·y + β, at `ratio` of the head's rate; merged into the weights after each task.

    γ starts at 1 and β at 0, so that a task begins from the base's features (SSF's own starts are normal around these,
    with a deviation of 0.02). A layer without a bias gets no β, which no plain weight could take up; a norm that holds
    an activation gets neither, its convolution's say the same, nor does a convolution that standardises its weights
    without a gain.
    """

    ratio: float = 0.1

    @property
    def folds(self) -> bool:
        """γW, or γ times a gain, and γb + β are plain weights."""
        return True

    def moves(self, task: int) -> bool:
        """In every task."""
        return True

    def equip(self, backbone: PixelBackbone, kept: Tensors) -> None:
        """Nothing is kept from task to task."""

    def begin(self, backbone: PixelBackbone, task: int, seed: int) -> None:
        """Scales and shifts that change nothing yet; they alone require gradients.

        Raises UnfitBackbone for a network without a place.
        """
        if not insertion.inserted(backbone, LEAVES):
            insertion.call_layers(backbone)
            for name, layer in _places(backbone):
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
                scaled = f"{owner}.{_scaled_leaf(backbone.get_submodule(owner))}"
                plain[scaled] = plain[scaled] * scale_O.reshape(-1, *[1] * (plain[scaled].ndim - 1))
                if f"{owner}.{SHIFT}" in apart.kept:
                    plain[f"{owner}.bias"] = plain[f"{owner}.bias"] * scale_O + apart.kept[f"{owner}.{SHIFT}"]
        return Apart(plain)


def _places(backbone: PixelBackbone) -> list[tuple[str, nn.Module]]:
    found = [(name, module) for name, module in backbone.named_modules() if _takes_a_scale(module)]
    if not found:
        raise insertion.UnfitBackbone(
            f"SSF needs layers whose weights take up a scale, which {backbone.spec.name} does not have"
        )
    return found


def _takes_a_scale(module: nn.Module) -> bool:
    if not isinstance(module, (nn.Linear, nn.Conv2d, *NORMS)) or isinstance(module, STANDARDISED):
        return False
    return getattr(module, "weight", None) is not None and not _activates(module)


def _activates(module: nn.Module) -> bool:
    return any(not isinstance(part, nn.Identity) for part in module.children())


def _neutral(name: str, layer: nn.Module) -> dict[str, Tensor]:
    count = len(layer.get_parameter("weight"))
    tensors = {f"{name}.{SCALE}": torch.ones(count)}
    if getattr(layer, "bias", None) is not None:
        tensors[f"{name}.{SHIFT}"] = torch.zeros(count)
    return tensors


def _scaled_leaf(layer: nn.Module) -> str:
    """The layer's parameter that takes γ up."""
    return "gain" if isinstance(layer, GAINED) else "weight"


def _scaled(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    by_channel = [1] * output.ndim
    by_channel[_channel_axis(layer)] = -1
    scaled = output * layer.get_parameter(SCALE).reshape(by_channel)
    return scaled + layer.get_parameter(SHIFT).reshape(by_channel) if hasattr(layer, SHIFT) else scaled


def _channel_axis(layer: nn.Module) -> int:
    return -1 if isinstance(layer, (nn.Linear, nn.LayerNorm)) and not isinstance(layer, CHANNEL_FIRST) else 1
