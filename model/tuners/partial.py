"""A few of the backbone's own parameters move: biases, norms, the class token (BitFit and the like)."""

from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from model.backbones.backbone import PixelBackbone
from model.method import Apart
from model.training.stage import Group, Penalty, Tensors
from model.tuners import insertion

NORMS = (nn.LayerNorm, nn.GroupNorm, _BatchNorm)


@dataclass(frozen=True)
class PartialTuner:
    """Biases always; the weights of norms and the class token where asked for; at `ratio` of the head's rate."""

    norms: bool = True
    class_token: bool = False
    ratio: float = 0.1

    @property
    def folds(self) -> bool:
        """There is nothing beside the plain weights."""
        return True

    def moves(self, task: int) -> bool:
        """In every task."""
        return True

    def equip(self, backbone: PixelBackbone, kept: Tensors) -> None:
        """The plain network is the whole network."""

    def begin(self, backbone: PixelBackbone, task: int, seed: int) -> None:
        """What moves requires gradients, and nothing else."""
        insertion.only(backbone, self.moving(backbone))

    def groups(self, backbone: PixelBackbone, task: int) -> list[Group]:
        """All at one rate."""
        return [Group(list(self.moving(backbone).values()), self.ratio)]

    def penalty(self, backbone: PixelBackbone) -> Penalty | None:
        """Nothing is added."""
        return None

    def taken_apart(self, backbone: PixelBackbone) -> Apart:
        """The plain weights."""
        return Apart(backbone.state())

    def moving(self, backbone: PixelBackbone) -> dict[str, nn.Parameter]:
        """What moves, by name."""
        of_norms = {id(p) for module in backbone.modules() if isinstance(module, NORMS) for p in module.parameters()}
        return {
            name: parameter
            for name, parameter in backbone.named_parameters()
            if name.endswith("bias")
            or (self.norms and id(parameter) in of_norms)
            or (self.class_token and name.endswith("cls_token"))
        }
