"""The backbone stands still; only heads learn."""

from dataclasses import dataclass

from model.backbones.backbone import PixelBackbone
from model.method import Apart
from model.training.stage import Group, Penalty, Tensors


@dataclass(frozen=True)
class FrozenTuner:
    """Nothing moves."""

    @property
    def folds(self) -> bool:
        """There is nothing beside the plain weights."""
        return True

    def moves(self, task: int) -> bool:
        """Never."""
        return False

    def equip(self, backbone: PixelBackbone, kept: Tensors) -> None:
        """The plain network is the whole network."""

    def begin(self, backbone: PixelBackbone, task: int, seed: int) -> None:
        """Nothing requires gradients."""
        backbone.requires_grad_(False)

    def groups(self, backbone: PixelBackbone, task: int) -> list[Group]:
        """None."""
        return []

    def penalty(self, backbone: PixelBackbone) -> Penalty | None:
        """Nothing is added."""
        return None

    def taken_apart(self, backbone: PixelBackbone) -> Apart:
        """The plain weights."""
        return Apart(backbone.state())
