"""The hybrid slow learner of SLCA++: low-rank updates, and biases, norms and class token (method.md 3)."""

from dataclasses import dataclass, field

from model.backbones.backbone import PixelBackbone
from model.method import Apart
from model.training.stage import Group, Penalty, Tensors
from model.tuners import insertion
from model.tuners.lora import LEAVES, LoraTuner
from model.tuners.partial import PartialTuner


@dataclass(frozen=True)
class HybridTuner:
    """`lora` at its rates by task and `others` at theirs; what else there is stands still."""

    lora: LoraTuner = field(default_factory=lambda: LoraTuner(init="svd"))
    others: PartialTuner = field(default_factory=lambda: PartialTuner(class_token=True))

    @property
    def folds(self) -> bool:
        """Both do."""
        return self.lora.folds and self.others.folds

    def moves(self, task: int) -> bool:
        """In every task."""
        return True

    def equip(self, backbone: PixelBackbone, kept: Tensors) -> None:
        """Puts the low-rank pairs in."""
        self.lora.equip(backbone, kept)

    def begin(self, backbone: PixelBackbone, task: int, seed: int) -> None:
        """Both parts require gradients."""
        self.lora.begin(backbone, task, seed)
        moving = insertion.inserted(backbone, LEAVES) | self.others.moving(backbone)
        insertion.only(backbone, moving)

    def groups(self, backbone: PixelBackbone, task: int) -> list[Group]:
        """The pairs at one rate, the others at another."""
        return self.lora.groups(backbone, task) + self.others.groups(backbone, task)

    def penalty(self, backbone: PixelBackbone) -> Penalty | None:
        """Nothing is added."""
        return None

    def taken_apart(self, backbone: PixelBackbone) -> Apart:
        """As the low-rank pairs are taken apart; the others are plain weights."""
        return self.lora.taken_apart(backbone)
