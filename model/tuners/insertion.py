"""Small trained parts put beside a network's own layers, so that the layers keep their names and weights.

A part is parameters on a layer that is there already, and a hook on that layer's input or output. Hooks hold no tensor
of their own, and modules only as arguments of a `partial`, which copies do not share as they would a closure's: a copy
of the network reads the copy's parameters.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from model.backbones.backbone import PixelBackbone
from model.method import Apart
from model.training.stage import Tensors

PROMPT_REACH = 0.01
"""Of `first_prompts` (code: `models/prompt.py` of google-research/l2p)."""


class UnfitBackbone(ValueError):
    """A tuner that has no place in this architecture; the text names both."""


def layers(backbone: PixelBackbone, kind: type[nn.Module], leaves: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """The layers of that kind whose last name is one of `leaves`, in the network's order, each with its whole name."""
    for name, module in backbone.named_modules():
        if isinstance(module, kind) and name.rpartition(".")[2] in leaves:
            yield name, module


def insert(backbone: PixelBackbone, tensors: Tensors) -> None:
    """New parameters under their dotted names, on the network's device."""
    for name, tensor in tensors.items():
        owner, _, leaf = name.rpartition(".")
        parameter = nn.Parameter(tensor.detach().to(backbone.device, torch.float32, copy=True))
        backbone.get_submodule(owner).register_parameter(leaf, parameter)


def inserted(backbone: PixelBackbone, leaves: tuple[str, ...]) -> dict[str, nn.Parameter]:
    """The parameters of those last names."""
    return {name: value for name, value in backbone.named_parameters() if name.rpartition(".")[2] in leaves}


def removed(backbone: PixelBackbone, leaves: tuple[str, ...]) -> Apart:
    """The plain weights, and those of the last names `leaves` as what is kept."""
    state = backbone.state()
    kept = {name: value for name, value in state.items() if name.rpartition(".")[2] in leaves}
    return Apart({name: value for name, value in state.items() if name not in kept}, kept)


def call_layers(backbone: PixelBackbone) -> None:
    """Has every layer called, so that its hooks run.

    The attention of timm's BEiT, EVA and Swin V2 reads `qkv`'s weight beside a bias of its own instead, unless it is
    told to add that bias afterwards; what it computes is the same.
    """
    attention: Any
    for attention in backbone.modules():
        if hasattr(attention, "qkv_bias_separate"):
            attention.qkv_bias_separate = True


def only(backbone: PixelBackbone, moving: Mapping[str, nn.Parameter]) -> None:
    """Mark these parameters, and no other, as requiring gradients."""
    backbone.requires_grad_(False)
    for parameter in moving.values():
        parameter.requires_grad_(True)


def is_vision_transformer(backbone: PixelBackbone) -> bool:
    """Whether the network has the blocks of timm's vision transformers: attention, then an MLP."""
    found = list(getattr(backbone.network, "blocks", ()))
    return bool(found) and all(
        isinstance(getattr(block, "mlp", None), nn.Module) and hasattr(block, "attn") for block in found
    )


def blocks(backbone: PixelBackbone, tuner: str) -> list[tuple[str, nn.Module]]:
    """The blocks of a timm vision transformer by name; raises UnfitBackbone for another network."""
    if not is_vision_transformer(backbone):
        raise UnfitBackbone(
            f"{tuner} needs the blocks of a vision transformer, which {backbone.spec.name} does not have"
        )
    found: Any = backbone.network.blocks
    return [(f"network.blocks.{number}", block) for number, block in enumerate(found)]


def class_token_blocks(backbone: PixelBackbone, tuner: str) -> list[tuple[str, nn.Module]]:
    """The blocks of a network whose feature is its class token's, from the first block to the last one.

    That is timm's plain `VisionTransformer` pooled by token. Raises UnfitBackbone for another network: where patches
    are pooled the first token is an image patch, and relatives join the class token late or use its attention
    otherwise.
    """
    found, network = blocks(backbone, tuner), backbone.network
    if type(network) is not VisionTransformer or network.global_pool != "token" or network.cls_token is None:
        raise UnfitBackbone(
            f"{tuner} needs a vision transformer whose feature is its class token's, which {backbone.spec.name} is not"
        )
    return found


def uniform(shape: tuple[int, ...], reach: float, seed: int, place: int) -> Tensor:
    """Numbers within ±`reach` that depend on seed and place alone."""
    return _drawn(-reach, reach, shape, seed, place)


def first_prompts(shape: tuple[int, ...], seed: int, place: int) -> Tensor:
    """How prompts and keys of L2P and DualPrompt begin: from 0 to `PROMPT_REACH`, by seed and place alone.

    None is negative (jax's `uniform`, which their code draws from), so that keys begin close to one another: a cosine
    of about 3/4.
    """
    return _drawn(0, PROMPT_REACH, shape, seed, place)


def _drawn(least: float, most: float, shape: tuple[int, ...], seed: int, place: int) -> Tensor:
    rng = np.random.default_rng([seed, place])
    return torch.from_numpy(rng.uniform(least, most, shape).astype(np.float32))
