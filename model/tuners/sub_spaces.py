"""EASE: an adapter for each task, each with a sub-space of features to itself (Zhou et al., CVPR 2024).

In evaluation the features are those of the plain network and of the network with each adapter alone, side by side;
while a task is learned they are those of its own adapter. No adapter moves after its task.
"""

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from model.backbones.backbone import PixelBackbone
from model.method import Apart
from model.training.stage import Group, Penalty, Tensors
from model.tuners import insertion
from model.tuners.adapter import LEAVES, AdapterTuner, adapted, fresh


@dataclass(frozen=True)
class SubSpaceTuner:
    """A new `adapter` in each block for every task that tunes; with n of them features are (n + 1)·D numbers."""

    adapter: AdapterTuner = field(default_factory=AdapterTuner)

    @property
    def folds(self) -> bool:
        """Many passes are no plain weight, and features grow with every task."""
        return False

    def moves(self, task: int) -> bool:
        """In every task."""
        return True

    def equip(self, backbone: PixelBackbone, kept: Tensors) -> None:
        """Puts the kept adapters in."""
        if kept:
            insertion.insert(backbone, kept)
            self._hook(backbone)

    def begin(self, backbone: PixelBackbone, task: int, seed: int) -> None:
        """One more adapter; it alone requires gradients."""
        number = _count(backbone) + 1
        insertion.insert(backbone, fresh(self.adapter, backbone, seed, f"_{number}"))
        if number == 1:
            self._hook(backbone)
        backbone.network.sub_spaces.learning = number
        insertion.only(backbone, _adapters(backbone, number))

    def groups(self, backbone: PixelBackbone, task: int) -> list[Group]:
        """The newest adapter, at the adapter's rate."""
        return [Group(list(_adapters(backbone, _count(backbone)).values()), self.adapter.ratio)]

    def penalty(self, backbone: PixelBackbone) -> Penalty | None:
        """Nothing is added."""
        return None

    def taken_apart(self, backbone: PixelBackbone) -> Apart:
        """The plain weights as they were, and all adapters."""
        state = backbone.state()
        kept = {name: tensor for name, tensor in state.items() if _number(name)}
        return Apart({name: tensor for name, tensor in state.items() if name not in kept}, kept)

    def _hook(self, backbone: PixelBackbone) -> None:
        spaces = SubSpaces()
        backbone.network.sub_spaces = spaces
        for name, _ in insertion.blocks(backbone, "an adapter"):
            backbone.get_submodule(f"{name}.mlp").register_forward_hook(partial(_added, self.adapter, spaces))
        backbone.register_forward_pre_hook(partial(_begun, spaces))
        backbone.register_forward_hook(partial(_side_by_side, spaces))


class SubSpaces(nn.Module):
    """`active` is the number of the adapter in the pass under way, `learning` of the one that is trained; 0: none."""

    def __init__(self) -> None:
        super().__init__()
        self.active = 0
        self.learning = 0


def _added(
    tuner: AdapterTuner, spaces: SubSpaces, mlp: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
) -> Tensor:
    return adapted(tuner, mlp, inputs, output, f"_{spaces.active}") if spaces.active else output


def _begun(spaces: SubSpaces, backbone: PixelBackbone, inputs: tuple[Tensor, ...]) -> None:
    spaces.active = spaces.learning if backbone.training else 0


def _side_by_side(spaces: SubSpaces, backbone: PixelBackbone, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """In evaluation the plain features, then those of each adapter."""
    if backbone.training:
        return output
    features = [output]
    for number in range(1, _count(backbone) + 1):
        spaces.active = number
        features.append(backbone.forward(*inputs))
    return torch.cat(features, dim=1)


def _number(name: str) -> int:
    """Of the adapter whose parameter has this name; 0 for any other parameter."""
    leaf, _, number = name.rpartition(".")[2].rpartition("_")
    return int(number) if leaf in LEAVES else 0


def _count(backbone: PixelBackbone) -> int:
    return max(_number(name) for name, _ in backbone.named_parameters())


def _adapters(backbone: PixelBackbone, number: int) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in backbone.named_parameters() if _number(name) == number}
