"""DualPrompt: general prompts for all tasks, expert prompts for each (Wang et al., ECCV 2022).

Both are prefixes of keys and values in some blocks' attention. While a task is learned its own expert prompt is used;
afterwards each image gets the one whose key is nearest, by cosine, to what the frozen network sees in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.backbones.backbone import PixelBackbone
from model.method import Apart
from model.training.stage import Group, Penalty, Tensors
from model.tuners import insertion
from model.tuners.prefixes import attach
from model.tuners.query import KeyPull, cosines

GENERAL, EXPERT, KEY = "general_G2LD", "expert_E2LD_", "expert_key_D_"
"""Names in the network; those of experts end in the number of their task, from 1."""


@dataclass(frozen=True)
class DualPromptTuner:
    """General prefixes of `general` positions in `general_blocks`, expert ones of `expert` in `expert_blocks`.

    Blocks count from 0; those that a small network does not have are left out. `pull` is λ. Earlier experts and their
    keys stay as their task left them.
    """

    general: int = 5
    expert: int = 5
    general_blocks: tuple[int, ...] = (0, 1)
    expert_blocks: tuple[int, ...] = (2, 3, 4)
    pull: float = 1.0

    @property
    def folds(self) -> bool:
        """Two passes and prefixes are no plain weight."""
        return False

    def moves(self, task: int) -> bool:
        """In every task."""
        return True

    def equip(self, backbone: PixelBackbone, kept: Tensors) -> None:
        """Puts the kept prompts in."""
        if kept:
            self._put(backbone, kept)

    def begin(self, backbone: PixelBackbone, task: int, seed: int) -> None:
        """A new expert, which goes on from the newest one (`shared_prompt_pool` of the source), and a key of its own;
        the general prompt where there is none. These move, and nothing else.
        """
        depth, width = len(insertion.class_token_blocks(backbone, "prefix tuning")), backbone.token_dim
        general, expert = (sum(block < depth for block in wanted) for wanted in self._wanted)
        number = len(_experts(backbone)) + 1
        key_D = insertion.first_prompts((width,), seed, 2)
        if number == 1:
            first = {
                f"network.{GENERAL}": insertion.first_prompts((general, 2, self.general, width), seed, 0),
                f"network.{EXPERT}1": insertion.first_prompts((expert, 2, self.expert, width), seed, 1),
                f"network.{KEY}1": key_D,
            }
            self._put(backbone, first)
        else:
            newest = backbone.get_parameter(f"network.{EXPERT}{number - 1}")
            insertion.insert(backbone, {f"network.{EXPERT}{number}": newest, f"network.{KEY}{number}": key_D})
        backbone.network.prefixes.learning = number
        insertion.only(backbone, _moving(backbone, number))

    def groups(self, backbone: PixelBackbone, task: int) -> list[Group]:
        """General prompt, the task's expert and its key, at the head's rate."""
        return [Group(list(_moving(backbone, len(_experts(backbone))).values()), 1.0)]

    def penalty(self, backbone: PixelBackbone) -> Penalty | None:
        """−λ times the cosine of each query with the task's key, mean over the images."""
        return KeyPull(self.pull, _own_cosines)

    def taken_apart(self, backbone: PixelBackbone) -> Apart:
        """The plain weights as they were, and the prompts."""
        state = backbone.state()
        kept = {name: tensor for name, tensor in state.items() if _is_prompt(name)}
        return Apart({name: tensor for name, tensor in state.items() if name not in kept}, kept)

    @property
    def _wanted(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.general_blocks, self.expert_blocks

    def _put(self, backbone: PixelBackbone, tensors: Tensors) -> None:
        depth = len(insertion.class_token_blocks(backbone, "prefix tuning"))
        insertion.insert(backbone, tensors)
        experts = Experts(*(tuple(block for block in wanted if block < depth) for wanted in self._wanted))
        backbone.network.prefixes = experts
        attach(backbone, experts, (*experts.general_blocks, *experts.expert_blocks))


class Experts(nn.Module):
    """What the pass under way uses: `learning` is the task whose expert is trained, 0 for none."""

    def __init__(self, general_blocks: tuple[int, ...], expert_blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.general_blocks, self.expert_blocks = general_blocks, expert_blocks
        self.learning = 0
        self.rows_B = torch.zeros(0, dtype=torch.int64)
        self.cosine_BT = torch.zeros(0, 0)

    def pairs(self, network: nn.Module, query_BD: Tensor) -> Mapping[int, Tensor]:
        """General prefixes for all images alike; of the experts the task's own, or the one of the nearest key."""
        count = sum(name.startswith(KEY) for name, _ in network.named_parameters(recurse=False))
        keys_TD = torch.stack([network.get_parameter(f"{KEY}{number}") for number in range(1, count + 1)])
        self.cosine_BT = cosines(query_BD, keys_TD)
        own = torch.full_like(self.cosine_BT[:, 0], self.learning - 1, dtype=torch.int64)
        self.rows_B = own if network.training and self.learning else self.cosine_BT.argmax(dim=1)
        experts_TE2LD = torch.stack([network.get_parameter(f"{EXPERT}{number}") for number in range(1, count + 1)])
        chosen_BE2LD = experts_TE2LD[self.rows_B]
        general_G2LD = network.get_parameter(GENERAL)
        return {
            block: general_G2LD[place].expand(len(query_BD), -1, -1, -1)
            for place, block in enumerate(self.general_blocks)
        } | {block: chosen_BE2LD[:, place] for place, block in enumerate(self.expert_blocks)}


def _own_cosines(backbone: PixelBackbone) -> Tensor:
    """With the key of the task that is learned."""
    prefixes = backbone.network.prefixes
    cosine_B: Tensor = prefixes.cosine_BT[:, prefixes.learning - 1]
    return cosine_B


def _is_prompt(name: str) -> bool:
    return name.removeprefix("network.").startswith((GENERAL, EXPERT, KEY))


def _experts(backbone: PixelBackbone) -> list[str]:
    return [name for name, _ in backbone.named_parameters() if name.removeprefix("network.").startswith(KEY)]


def _moving(backbone: PixelBackbone, number: int) -> dict[str, nn.Parameter]:
    wanted = {f"network.{GENERAL}", f"network.{EXPERT}{number}", f"network.{KEY}{number}"}
    return {name: parameter for name, parameter in backbone.named_parameters() if name in wanted}
