"""Keys and values set before a block's own in its attention, chosen for each image by what the plain network sees."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from model.backbones.backbone import PixelBackbone
from model.tuners import insertion
from model.tuners.query import PlainQuery


class Chooser(Protocol):
    """What decides on the prefixes of a batch."""

    def pairs(self, network: nn.Module, query_BD: Tensor) -> Mapping[int, Tensor]:
        """Prefixes by number of the block, B×2×L×D: keys and values; `query_BD` are plain class tokens."""


def attach(backbone: PixelBackbone, chooser: Chooser, numbers: Sequence[int]) -> None:
    """Lets the blocks of these numbers attend to what the chooser lays out."""
    parts = [block for _, block in insertion.class_token_blocks(backbone, "prefix tuning")]
    prefixes = Prefixes(chooser)
    parts[0].register_forward_pre_hook(partial(_asked_first, prefixes, backbone.network))
    for number in numbers:
        attention: Any = parts[number].get_submodule("attn")
        attention.forward = partial(_attend, attention, prefixes, number)


class Prefixes:
    """The prefixes of the pass under way."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser
        self._query = PlainQuery()
        self._pairs: Mapping[int, Tensor] = {}

    def choose(self, network: nn.Module, tokens_BND: Tensor) -> None:
        """Ask the plain network about the images whose tokens enter its first block."""
        if not self._query.asking:
            self._pairs = self._chooser.pairs(network, self._query.of(network, tokens_BND).float())

    def pair(self, block: int) -> tuple[Tensor, Tensor] | None:
        """Keys and values for the block, each B×L×D; None while the plain network is asked."""
        if self._query.asking or block not in self._pairs:
            return None
        keys_BLD, values_BLD = self._pairs[block].unbind(dim=1)
        return keys_BLD, values_BLD


def _asked_first(prefixes: Prefixes, network: nn.Module, block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    prefixes.choose(network, inputs[0])


def _attend(attention: Any, prefixes: Prefixes, block: int, tokens_BND: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """timm's attention with the block's prefixes before its own keys and values."""
    pair = prefixes.pair(block)
    if pair is None:
        plain: Tensor = type(attention).forward(attention, tokens_BND, *args, **kwargs)
        return plain
    batch, tokens, _ = tokens_BND.shape
    heads = attention.num_heads
    split = attention.qkv(tokens_BND).reshape(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = split.unbind(0)
    query, key = attention.q_norm(query), attention.k_norm(key)
    before_key, before_value = (
        part_BLD.reshape(batch, part_BLD.shape[1], heads, -1).transpose(1, 2).to(key.dtype) for part_BLD in pair
    )
    keys, values = torch.cat([before_key, key], dim=2), torch.cat([before_value, value], dim=2)
    if attention.fused_attn:
        mixed = nn.functional.scaled_dot_product_attention(query, keys, values)
    else:
        mixed = (query * attention.scale @ keys.transpose(-2, -1)).softmax(dim=-1) @ values
    joined_BND = mixed.transpose(1, 2).reshape(batch, tokens, -1)
    if hasattr(attention, "norm"):
        joined_BND = attention.norm(joined_BND)
    answer_BND: Tensor = attention.proj_drop(attention.proj(joined_BND))
    return answer_BND
