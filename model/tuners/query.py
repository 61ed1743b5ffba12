"""What the plain network sees in an image, and how near keys are to it: L2P's and DualPrompt's queries."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.backbones.backbone import PixelBackbone
from model.training.stage import Step, Tensors


class PlainQuery:
    """Asks a network about images while what hangs in it looks on: who hangs there keeps still while `asking`."""

    def __init__(self) -> None:
        self.asking = False

    @torch.no_grad()
    def of(self, network: nn.Module, tokens_BND: Tensor) -> Tensor:
        """The class tokens' features, B×D, of images whose tokens enter the first block."""
        self.asking = True
        try:
            for block in network.get_submodule("blocks").children():
                tokens_BND = block(tokens_BND)
            feature_BND: Tensor = network.get_submodule("norm")(tokens_BND)
        finally:
            self.asking = False
        return feature_BND[:, 0]


def cosines(query_BD: Tensor, keys_KD: Tensor) -> Tensor:
    """`cosine_BK` in float32, also under autocast: in bfloat16 the nearest keys tie, and a wrong one is taken."""
    with torch.autocast(query_BD.device.type, enabled=False):
        unit_BD, unit_KD = (nn.functional.normalize(vectors.float(), dim=1) for vectors in (query_BD, keys_KD))
        return unit_BD @ unit_KD.T


@dataclass
class KeyPull:
    """−`pull` times the cosine of each image's query with the keys that are its own, mean over the images.

    `cosine_of` reads them off the pass under way, B; where an image has several keys their cosines are summed there.
    """

    pull: float
    cosine_of: Callable[[PixelBackbone], Tensor]
    loss_weight: float = 1.0

    def __call__(self, step: Step) -> Tensor:
        """The term of this step."""
        return -self.pull * self.cosine_of(step.backbone).mean()

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def take(self, state: Tensors) -> None:
        """Nothing."""
