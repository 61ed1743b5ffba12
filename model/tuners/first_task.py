"""First-session adaptation: the backbone learns from the first task and stands still after it."""

from dataclasses import dataclass

from model.backbones.backbone import PixelBackbone
from model.method import Apart, Tuner
from model.training.stage import Group, Penalty, Tensors


@dataclass(frozen=True)
class FirstTaskTuner:
    """Another tuner in the first task, nothing in later ones (RanPAC's and APER's first phase, method.md 4)."""

    tuner: Tuner

    @property
    def folds(self) -> bool:
        """As the other tuner."""
        return self.tuner.folds

    def moves(self, task: int) -> bool:
        """The other tuner's word in the first task, and never after it."""
        return task == 1 and self.tuner.moves(task)

    def equip(self, backbone: PixelBackbone, kept: Tensors) -> None:
        """As the other tuner."""
        self.tuner.equip(backbone, kept)

    def begin(self, backbone: PixelBackbone, task: int, seed: int) -> None:
        """Nothing requires gradients after the first task."""
        if task == 1:
            self.tuner.begin(backbone, task, seed)
        else:
            backbone.requires_grad_(False)

    def groups(self, backbone: PixelBackbone, task: int) -> list[Group]:
        """The other tuner's in the first task."""
        return self.tuner.groups(backbone, task) if task == 1 else []

    def penalty(self, backbone: PixelBackbone) -> Penalty | None:
        """The other tuner's while anything moves."""
        if any(parameter.requires_grad for parameter in backbone.parameters()):
            return self.tuner.penalty(backbone)
        return None

    def taken_apart(self, backbone: PixelBackbone) -> Apart:
        """As the other tuner."""
        return self.tuner.taken_apart(backbone)
