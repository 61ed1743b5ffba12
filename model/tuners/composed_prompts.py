"""CODA-Prompt: prefixes put together for each image from all components by attention (Smith et al., CVPR 2023).

p = Σ_m cos(q ⊙ A_m, K_m)·P_m in each of some blocks, q what the plain network sees in the image. Each task adds
components that begin orthogonal to earlier ones, which stay as their task left them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.backbones.backbone import PixelBackbone
from model.method import Apart
from model.training.stage import Group, Penalty, Tensors
from model.tuners import insertion
from model.tuners.prefixes import attach

PROMPT, KEY, LOOK = LEAVES = ("composed_prompt_M2LD", "composed_key_MD", "composed_look_MD")
"""P, K and A, on each block; names in the network end in `_` and the number of their task, from 1."""

SMALLEST_ROOM = 1e-6
"""Of a unit vector, outside what the other rows span: less is rounding."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class ComposedPromptTuner:
    """`count` components a task, each `length` keys and as many values, in `blocks` (from 0) as far as there are."""

    count: int = 10
    length: int = 4
    blocks: tuple[int, ...] = (0, 1, 2, 3, 4)

    @property
    def folds(self) -> bool:
        """Two passes and prefixes are no plain weight."""
        return False

    def moves(self, task: int) -> bool:
        """In every task."""
        return True

    def equip(self, backbone: PixelBackbone, kept: Tensors) -> None:
        """Puts the kept components in."""
        if kept:
            insertion.insert(backbone, kept)
            self._attach(backbone)

    def begin(self, backbone: PixelBackbone, task: int, seed: int) -> None:
        """New components; they alone require gradients."""
        number = _count(backbone) + 1
        for block in self._present(backbone):
            insertion.insert(backbone, self._fresh(backbone, block, number, seed))
        if number == 1:
            self._attach(backbone)
        insertion.only(backbone, _components(backbone, number))

    def groups(self, backbone: PixelBackbone, task: int) -> list[Group]:
        """The newest components, at the head's rate."""
        return [Group(list(_components(backbone, _count(backbone)).values()), 1.0)]

    def penalty(self, backbone: PixelBackbone) -> Penalty | None:
        """Nothing is added: the source's weight of orthogonality is 0."""
        return None

    def taken_apart(self, backbone: PixelBackbone) -> Apart:
        """The plain weights as they were, and all components."""
        state = backbone.state()
        kept = {name: tensor for name, tensor in state.items() if _number(name)}
        return Apart({name: tensor for name, tensor in state.items() if name not in kept}, kept)

    def _present(self, backbone: PixelBackbone) -> tuple[int, ...]:
        depth = len(insertion.class_token_blocks(backbone, "prefix tuning"))
        return tuple(block for block in self.blocks if block < depth)

    def _attach(self, backbone: PixelBackbone) -> None:
        blocks = self._present(backbone)
        attach(backbone, Composition(blocks), blocks)

    def _fresh(self, backbone: PixelBackbone, block: int, number: int, seed: int) -> dict[str, Tensor]:
        width, owner = backbone.token_dim, f"network.blocks.{block}"
        shapes = {PROMPT: (2, self.length, width), KEY: (width,), LOOK: (width,)}
        tensors = {}
        for place, (leaf, shape) in enumerate(shapes.items()):
            before = [backbone.get_parameter(f"{owner}.{leaf}_{one}").flatten(1) for one in range(1, number)]
            known_KE = torch.cat(before).detach().cpu().numpy() if before else np.zeros((0, int(np.prod(shape))))
            rng = np.random.default_rng([seed, block, place])
            made_ME = orthogonal(self.count, known_KE.astype(np.float64), rng)
            tensors[f"{owner}.{leaf}_{number}"] = torch.from_numpy(made_ME.astype(np.float32)).reshape(-1, *shape)
        return tensors


class Composition:
    """Weighs the components of each block by attention."""

    def __init__(self, blocks: tuple[int, ...]) -> None:
        self._blocks = blocks

    def pairs(self, network: nn.Module, query_BD: Tensor) -> Mapping[int, Tensor]:
        """Σ_m cos(q ⊙ A_m, K_m)·P_m by block."""
        return {number: self._pair(network.get_submodule(f"blocks.{number}"), query_BD) for number in self._blocks}

    def _pair(self, block: nn.Module, query_BD: Tensor) -> Tensor:
        prompt_M2LD, key_MD, look_MD = (_all_tasks(block, leaf) for leaf in LEAVES)
        seen_BMD = nn.functional.normalize(query_BD[:, None] * look_MD, dim=2)
        cosine_BM = (seen_BMD * nn.functional.normalize(key_MD, dim=1)).sum(dim=2)
        return torch.einsum("bm,mpld->bpld", cosine_BM, prompt_M2LD)


def orthogonal(count: int, known_KE: Doubles, rng: np.random.Generator) -> Doubles:
    """Unit rows, orthogonal to the known rows and to each other as long as there is room, else random."""
    basis_EK = np.linalg.qr(known_KE.T)[0] if len(known_KE) else known_KE.T
    rows = []
    for _ in range(count):
        drawn_E: Doubles = rng.standard_normal((known_KE.shape[1],))
        drawn_E = drawn_E / float(np.linalg.norm(drawn_E))
        left_E = drawn_E
        for _ in range(2):
            left_E = left_E - basis_EK @ (basis_EK.T @ left_E)
        length = float(np.linalg.norm(left_E))
        rows.append(left_E / length if length > SMALLEST_ROOM else drawn_E)
        basis_EK = np.concatenate([basis_EK, rows[-1][:, None]], axis=1)
    return np.stack(rows)


def _all_tasks(block: nn.Module, leaf: str) -> Tensor:
    found = {_number(name): value for name, value in block.named_parameters(recurse=False) if _leaf(name) == leaf}
    return torch.cat([found[number] for number in sorted(found)])


def _leaf(name: str) -> str:
    return name.rpartition(".")[2].rpartition("_")[0]


def _number(name: str) -> int:
    """Of the task whose component has this name; 0 for any other parameter."""
    return int(name.rpartition("_")[2]) if _leaf(name) in LEAVES else 0


def _count(backbone: PixelBackbone) -> int:
    return max(_number(name) for name, _ in backbone.named_parameters())


def _components(backbone: PixelBackbone, number: int) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in backbone.named_parameters() if _number(name) == number}
