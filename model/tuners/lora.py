"""Low-rank updates beside the linear layers: W' = W + scale·BA (LoRA; as SLCA++ has it, method.md 3)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from torch import Tensor, nn

from model.backbones.backbone import PixelBackbone
from model.method import Apart
from model.training.stage import Group, Penalty, Tensors
from model.tuners import insertion

DOWN, UP = "lora_down_RI", "lora_up_OR"
LEAVES = (DOWN, UP)

LAYERS = ("qkv", "q_proj", "k_proj", "v_proj", "fc1", "fc1_g", "fc1_x", "fc2")
"""As timm calls them: `qkv` and the MLP's two; where these are kept apart (EVA-02, SwiGLU), their parts."""

RANK_TOLERANCE = 1e-8
"""A square this small beside the largest says that the matrix has fewer directions than are asked for."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class LoraTuner:
    """One pair A (R×I), B (O×R) for each linear layer, which goes on through all tasks, or is `merged` after each.

    `layers` are last names as timm's vision transformers have them. B starts at 0; A as the first right singular
    vectors of W (`svd`; fewer than R where W has fewer) or uniform as of Kaiming (`random`). The rate is `first_ratio`
    of the head's in task 1, then `ratio`. The snapshot's backbone holds W', so that a server needs nothing else.
    """

    rank: int = 4
    scale: float = 0.8
    layers: tuple[str, ...] = LAYERS
    init: Literal["svd", "random"] = "random"
    first_ratio: float = 0.5
    ratio: float = 0.1
    merged: bool = False

    @property
    def folds(self) -> bool:
        """W' is a plain weight."""
        return True

    def moves(self, task: int) -> bool:
        """In every task."""
        return True

    def equip(self, backbone: PixelBackbone, kept: Tensors) -> None:
        """Puts A and B in, and takes what they add off the weights."""
        if kept:
            self._put(backbone, kept)
            for layer in _equipped(backbone):
                with torch.no_grad():
                    layer.weight -= self._update(layer)

    def begin(self, backbone: PixelBackbone, task: int, seed: int) -> None:
        """A new pair where there is none; A and B alone require gradients."""
        if not insertion.inserted(backbone, LEAVES):
            self._put(backbone, self._fresh(backbone, seed))
        insertion.only(backbone, insertion.inserted(backbone, LEAVES))

    def groups(self, backbone: PixelBackbone, task: int) -> list[Group]:
        """All pairs at one rate."""
        ratio = self.first_ratio if task == 1 else self.ratio
        return [Group(list(insertion.inserted(backbone, LEAVES).values()), ratio)]

    def penalty(self, backbone: PixelBackbone) -> Penalty | None:
        """Nothing is added."""
        return None

    def taken_apart(self, backbone: PixelBackbone) -> Apart:
        """W' under the layer's name; A and B beside it unless they are merged for good."""
        apart = insertion.removed(backbone, LEAVES)
        plain = dict(apart.plain)
        for name, module in backbone.named_modules():
            if hasattr(module, UP):
                weight_OI = module.get_parameter("weight") + self._update(module)
                plain[f"{name}.weight"] = weight_OI.detach().cpu()
        return Apart(plain, {} if self.merged else apart.kept)

    def _put(self, backbone: PixelBackbone, tensors: Tensors) -> None:
        insertion.insert(backbone, tensors)
        insertion.call_layers(backbone)
        for layer in _equipped(backbone):
            layer.register_forward_hook(partial(_added, self.scale))

    def _fresh(self, backbone: PixelBackbone, seed: int) -> dict[str, Tensor]:
        found = list(insertion.layers(backbone, nn.Linear, self.layers))
        if not found:
            raise insertion.UnfitBackbone(
                f"LoRA needs linear layers named {', '.join(self.layers)}, which {backbone.spec.name} does not have"
            )
        tensors: dict[str, Tensor] = {}
        for place, (name, layer) in enumerate(found):
            down_RI = self._down(layer, seed, place)
            tensors[f"{name}.{DOWN}"] = down_RI
            tensors[f"{name}.{UP}"] = torch.zeros(layer.out_features, len(down_RI))
        return tensors

    def _down(self, layer: nn.Linear, seed: int, place: int) -> Tensor:
        if self.init == "random":
            reach = 1 / math.sqrt(layer.in_features)
            return insertion.uniform((self.rank, layer.in_features), reach, seed, place)
        return torch.from_numpy(right_singular(layer.weight.detach().cpu().double().numpy(), self.rank)).float()

    def _update(self, layer: nn.Module) -> Tensor:
        return self.scale * (layer.get_parameter(UP) @ layer.get_parameter(DOWN))


def right_singular(weight_OI: Doubles, count: int) -> Doubles:
    """The first right singular vectors, up to count × I, without computing all: of the shorter side's Gram matrix."""
    outputs, inputs = weight_OI.shape
    tall = outputs >= inputs
    gram_KK = weight_OI.T @ weight_OI if tall else weight_OI @ weight_OI.T
    square_R, vectors_KR = eigh(gram_KK, subset_by_index=[max(0, len(gram_KK) - count), len(gram_KK) - 1])
    if tall:
        return np.ascontiguousarray(vectors_KR.T[::-1])
    if square_R[0] <= RANK_TOLERANCE * square_R[-1]:
        return np.linalg.svd(weight_OI, full_matrices=False)[2][:count]
    return np.ascontiguousarray((vectors_KR.T @ weight_OI / np.sqrt(square_R)[:, None])[::-1])


def _added(scale: float, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    inner = nn.functional.linear(inputs[0], layer.get_parameter(DOWN))
    return output + scale * nn.functional.linear(inner, layer.get_parameter(UP))


def _equipped(backbone: PixelBackbone) -> Iterator[nn.Linear]:
    return (module for module in backbone.modules() if isinstance(module, nn.Linear) and hasattr(module, UP))
