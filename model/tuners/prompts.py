"""Visual prompt tuning: trained tokens among those of the image (VPT).

They stand behind the image's tokens: without relative positions, attention does not know where a token stands.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from model.backbones.backbone import PixelBackbone
from model.method import Apart
from model.training.stage import Group, Penalty, Tensors
from model.tuners import insertion

PROMPT = "prompt_PD"


@dataclass(frozen=True)
class PromptTuner:
    """`count` tokens at the first block that stay to the last (shallow), or new ones at every block (`deep`).

    One set goes on through all tasks. Starts are uniform as of Xavier, for a patch of the network's size.
    """

    count: int = 10
    deep: bool = False
    ratio: float = 1.0

    @property
    def folds(self) -> bool:
        """More tokens are no plain weight."""
        return False

    def moves(self, task: int) -> bool:
        """In every task."""
        return True

    def equip(self, backbone: PixelBackbone, kept: Tensors) -> None:
        """Puts the kept tokens in."""
        if kept:
            self._put(backbone, kept)

    def begin(self, backbone: PixelBackbone, task: int, seed: int) -> None:
        """New tokens where there are none; they alone require gradients."""
        if not insertion.inserted(backbone, (PROMPT,)):
            self._put(backbone, self._fresh(backbone, seed))
        insertion.only(backbone, insertion.inserted(backbone, (PROMPT,)))

    def groups(self, backbone: PixelBackbone, task: int) -> list[Group]:
        """All at one rate."""
        return [Group(list(insertion.inserted(backbone, (PROMPT,)).values()), self.ratio)]

    def penalty(self, backbone: PixelBackbone) -> Penalty | None:
        """Nothing is added."""
        return None

    def taken_apart(self, backbone: PixelBackbone) -> Apart:
        """The plain weights as they were, and the tokens."""
        return insertion.removed(backbone, (PROMPT,))

    def _put(self, backbone: PixelBackbone, tensors: Tensors) -> None:
        insertion.insert(backbone, tensors)
        parts = [block for _, block in insertion.blocks(backbone, "prompt tuning")]
        for block in parts if self.deep else parts[:1]:
            block.register_forward_pre_hook(_with_prompts)
        for block in parts if self.deep else parts[-1:]:
            block.register_forward_hook(partial(_without_prompts, self.count))

    def _fresh(self, backbone: PixelBackbone, seed: int) -> dict[str, Tensor]:
        parts = insertion.blocks(backbone, "prompt tuning")
        width = backbone.token_dim
        patch = math.prod(backbone.network.patch_embed.patch_size)
        reach = math.sqrt(6 / (3 * patch + width))
        return {
            f"{name}.{PROMPT}": insertion.uniform((self.count, width), reach, seed, place)
            for place, (name, _) in enumerate(parts if self.deep else parts[:1])
        }


def _with_prompts(block: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    tokens_BND = inputs[0]
    prompt_PD = block.get_parameter(PROMPT).to(tokens_BND.dtype)
    joined_BND = torch.cat([tokens_BND, prompt_PD.expand(len(tokens_BND), -1, -1)], dim=1)
    return (joined_BND, *inputs[1:])


def _without_prompts(count: int, block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output[:, :-count]
