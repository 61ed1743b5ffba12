"""L2P: prompts from a pool, chosen for each image by what the frozen network sees in it (Wang et al., CVPR 2022).

The query is the class token's feature of the plain network. The keys nearest to it by cosine name the prompts, whose
tokens stand behind the image's; the mean of the prompts' outputs takes the class token's place. Keys are pulled towards
the queries that chose them. Selection is by image, also in training, where the source selects by batch.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from model.backbones.backbone import PixelBackbone
from model.method import Apart
from model.training.stage import Group, Penalty, Tensors
from model.tuners import insertion
from model.tuners.query import KeyPull, PlainQuery, cosines

KEYS, PROMPTS = "pool_keys_KD", "pool_prompts_KLD"


@dataclass(frozen=True)
class PromptPoolTuner:
    """A pool of `size` prompts of `length` tokens, of which each image gets the nearest `chosen`; `pull` is λ.

    One pool goes on through all tasks; backbone and query stay as they were trained.
    """

    size: int = 10
    length: int = 10
    chosen: int = 4
    pull: float = 1.0

    @property
    def folds(self) -> bool:
        """Two passes and more tokens are no plain weight."""
        return False

    def moves(self, task: int) -> bool:
        """In every task."""
        return True

    def equip(self, backbone: PixelBackbone, kept: Tensors) -> None:
        """Puts the kept pool in."""
        if kept:
            self._put(backbone, kept)

    def begin(self, backbone: PixelBackbone, task: int, seed: int) -> None:
        """A new pool where there is none; it alone requires gradients."""
        if not insertion.inserted(backbone, (KEYS,)):
            width = backbone.token_dim
            fresh = {
                f"network.{KEYS}": insertion.first_prompts((self.size, width), seed, 0),
                f"network.{PROMPTS}": insertion.first_prompts((self.size, self.length, width), seed, 1),
            }
            self._put(backbone, fresh)
        insertion.only(backbone, insertion.inserted(backbone, (KEYS, PROMPTS)))

    def groups(self, backbone: PixelBackbone, task: int) -> list[Group]:
        """The pool, at the head's rate."""
        return [Group(list(insertion.inserted(backbone, (KEYS, PROMPTS)).values()), 1.0)]

    def penalty(self, backbone: PixelBackbone) -> Penalty | None:
        """−λ times the cosines of each query with the keys that it chose, mean over the images."""
        return KeyPull(self.pull, _chosen_cosines)

    def taken_apart(self, backbone: PixelBackbone) -> Apart:
        """The plain weights as they were, and the pool."""
        return insertion.removed(backbone, (KEYS, PROMPTS))

    def _put(self, backbone: PixelBackbone, tensors: Tensors) -> None:
        parts = [block for _, block in insertion.class_token_blocks(backbone, "a prompt pool")]
        insertion.insert(backbone, tensors)
        choice = Choice(self.chosen)
        backbone.network.prompt_choice = choice
        parts[0].register_forward_pre_hook(partial(_with_prompts, choice, backbone.network))
        backbone.network.norm.register_forward_hook(partial(_read, choice))


class Choice(nn.Module):
    """What was chosen in the pass under way: the number of prompt tokens, and the cosines of the chosen keys."""

    def __init__(self, chosen: int) -> None:
        super().__init__()
        self._chosen = chosen
        self._tokens = 0
        self._query = PlainQuery()
        self.cosine_BN: Tensor | None = None
        self.rows_BN: Tensor | None = None

    def with_prompts(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The first block's input with the chosen prompts behind the image's tokens."""
        if self._query.asking:
            return inputs
        tokens_BND = inputs[0]
        keys_KD, prompts_KLD = network.get_parameter(KEYS), network.get_parameter(PROMPTS)
        cosine_BK = cosines(self._query.of(network, inputs[0]), keys_KD)
        self.cosine_BN, self.rows_BN = cosine_BK.topk(self._chosen, dim=1)
        prompts_BND = prompts_KLD[self.rows_BN].flatten(1, 2).to(tokens_BND.dtype)
        self._tokens = prompts_BND.shape[1]
        return (torch.cat([tokens_BND, prompts_BND], dim=1), *inputs[1:])

    def read(self, output_BND: Tensor) -> Tensor:
        """The last norm's output with the mean of the prompts' outputs in the class token's place."""
        if self._query.asking or not self._tokens:
            return output_BND
        mean_B1D = output_BND[:, -self._tokens :].mean(dim=1, keepdim=True)
        return torch.cat([mean_B1D, output_BND[:, 1 : -self._tokens]], dim=1)


def _with_prompts(
    choice: Choice, network: nn.Module, block: nn.Module, inputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    return choice.with_prompts(network, inputs)


def _read(choice: Choice, norm: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return choice.read(output)


def _chosen_cosines(backbone: PixelBackbone) -> Tensor:
    cosine_BN: Tensor = backbone.network.prompt_choice.cosine_BN
    return cosine_BN.sum(dim=1)
