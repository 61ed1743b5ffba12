"""Every weight of the backbone moves."""

from dataclasses import dataclass

from model.backbones.backbone import PixelBackbone
from model.method import Apart
from model.training.stage import Group, Penalty, Tensors


@dataclass(frozen=True)
class FullTuner:
    """All parameters, at `scale` times `ratio` of the head's rate; ratio None: times the plan's backbone rate."""

    ratio: float | None = None
    scale: float = 1.0

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
        """Everything requires gradients."""
        backbone.requires_grad_(True)

    def groups(self, backbone: PixelBackbone, task: int) -> list[Group]:
        """All parameters at one rate."""
        return [Group(list(backbone.parameters()), self.ratio, self.scale)]

    def penalty(self, backbone: PixelBackbone) -> Penalty | None:
        """Nothing is added."""
        return None

    def taken_apart(self, backbone: PixelBackbone) -> Apart:
        """The plain weights."""
        return Apart(backbone.state())
