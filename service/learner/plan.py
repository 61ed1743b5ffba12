"""How one task is learned: worked out once from the settings and the task's images, then frozen with the task."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from model.backbones.backbone import Precision
from model.backbones.precision import device_of, precision_of
from model.backbones.spec import BackboneSpec
from model.cores import cores
from model.learning import Making
from model.method import Method
from model.methods import method_named
from model.pixels.ahead import threads_beside
from model.stopping import Check
from model.training.tuning import TuningPlan
from service.learner.holdout import HoldoutRule
from service.settings import Settings

MICRO_BATCH_CPU = 16
"""Images of one step's part on a CPU: under two seconds of work, so that a cancel is quick."""
MILESTONE = 0.9
"""The rates drop in the last tenth of the epochs, as the reference's 18 of 20 (method.md 2.1)."""


@dataclass(frozen=True)
class LearnPlan:
    """All that decides the outcome of a task besides its base and its images; stored with the task at its claim.

    `root` is the architecture of a task without a base; None in plans of older code.
    """

    method: str
    seed: int
    epochs: int
    min_steps: int
    batch_size: int
    head_lr: float
    backbone_lr: float
    augmentation: str
    precision: Precision
    device: str
    threads: int
    max_minutes: float | None
    held_out: float
    held_out_per_class: int
    move_backbone: Literal["if_better", "always"] = "if_better"
    root: BackboneSpec | None = None

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return asdict(self) | {"root": None if self.root is None else self.root.to_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "LearnPlan":
        """The plan that `to_json` wrote."""
        root = value.get("root")
        return cls(**{**value, "root": None if root is None else BackboneSpec.from_json(root)})

    @property
    def composition(self) -> Method:
        """The method by its name."""
        return method_named(self.method)

    def making(self, check: Check) -> Making:
        """How the task's versions are made, by its method and seed; `check` may raise to stop."""
        return Making(self.composition, self.seed, self.device, check)

    @property
    def holdout(self) -> HoldoutRule:
        """How many images of each class only judge."""
        return HoldoutRule(self.held_out, self.held_out_per_class)

    def tuning(self, images: int) -> TuningPlan:
        """Stage 1 for so many images: batch min(`batch_size`, a quarter of them), at least `min_steps` steps."""
        batch = max(1, min(self.batch_size, math.ceil(images / 4)))
        steps = math.ceil(images / batch)
        epochs = max(self.epochs, math.ceil(self.min_steps / steps))
        return TuningPlan(
            epochs=epochs,
            batch_size=batch,
            micro_batch=batch if self.device == "cuda" else min(batch, MICRO_BATCH_CPU),
            head_lr=self.head_lr,
            backbone_lr=self.backbone_lr,
            milestones=(milestone(epochs),),
            augmentation=self.augmentation,
            precision=self.precision,
            seed=self.seed,
            threads=self.threads,
            view_threads=threads_beside(self.device, self.threads),
            max_minutes=self.max_minutes,
        )


def milestone(epochs: int) -> int:
    """The first epoch at lower rates, counted from 0: at least the last one, unless it is the only one."""
    return max(1, min(epochs - 1, math.ceil(MILESTONE * epochs)))


def make_plan(
    settings: Settings,
    base_content: str | None,
    pixel_digests: Sequence[str],
    method: str,
    backbone: str,
    root: BackboneSpec | None = None,
) -> LearnPlan:
    """The plan of a task claimed now on this machine; `backbone` is its network, `root` all of it where it begins."""
    learn = settings.learn
    device = device_of(learn.device)
    return LearnPlan(
        method=method,
        seed=task_seed(learn.seed, base_content, pixel_digests),
        epochs=learn.epochs,
        min_steps=learn.min_steps,
        batch_size=learn.batch_size,
        head_lr=learn.head_lr,
        backbone_lr=learn.backbone_lr,
        augmentation=learn.augmentation,
        precision=precision_of(learn.precision, device, backbone),
        device=device,
        threads=learn.threads or cores(),
        max_minutes=learn.max_minutes,
        held_out=learn.held_out,
        held_out_per_class=learn.held_out_per_class,
        move_backbone=learn.move_backbone,
        root=root,
    )


def task_seed(seed: int, base_content: str | None, pixel_digests: Sequence[str]) -> int:
    """A seed from the setting, the base and the images in order, never from time or ids; below 2³¹."""
    told = "\n".join([str(seed), base_content or "none", *pixel_digests])
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:4], "big") >> 1
