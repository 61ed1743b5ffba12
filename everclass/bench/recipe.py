"""How each protocol is trained: the reference's settings, and what a run changes of them."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from model import paper
from model.backbones.backbone import Precision, known_settings
from model.backbones.spec import BackboneSpec, Norm
from model.cores import cores
from model.method import Method
from model.methods import EASE_STEPS
from model.pixels.ahead import threads_beside
from model.training.stage import SymmetricCrossEntropy
from model.training.tuning import TuningPlan
from model.tuners import DualPromptTuner

Rgb = tuple[float, float, float]

CIFAR_MEAN, CIFAR_STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OF_FEW_IMAGES: dict[str, Any] = {"symmetric": (0.5, 0.5), "plus_weight_decay": 0.0}
"""What SLCA++ has for ImageNet-R and Cars-196."""


@dataclass(frozen=True)
class Recipe:
    """Stage 1 and τ of a protocol, and how pictures reach the backbone (method.md 2.1, supervised pre-training).

    `pixels` are the mean and deviation that normalise them, None for what the weights were trained with. `symmetric` is
    (a, b) of symmetric cross-entropy, `plus_weight_decay` SLCA++'s in both stages (method.md 3), `ease_lr` the rate of
    EASE, `dual_lr` DualPrompt's for 256 images and `expert` the tokens of its task prompts (method.md 4).
    """

    epochs: int = 50
    milestones: tuple[int, ...] = (40,)
    batch: int = paper.BATCH
    tau: float = paper.TEMPERATURE
    augmentation: str = "imagenet"
    pixels: tuple[Rgb, Rgb] | None = (IMAGENET_MEAN, IMAGENET_STD)
    crop_fraction: float = 0.875
    norm: Norm = "fresh"
    symmetric: tuple[float, float] = (SymmetricCrossEntropy.a, SymmetricCrossEntropy.b)
    plus_weight_decay: float = paper.WEIGHT_DECAY
    ease_lr: float = 0.05
    dual_lr: float = 0.005
    expert: int = 20

    def shortened(self, epochs: int | None) -> "Recipe":
        """With so many epochs, milestones at the same part of them: at least one epoch before the end."""
        if epochs is None or epochs == self.epochs:
            return self
        milestones = [max(1, min(epochs - 1, round(one * epochs / self.epochs))) for one in self.milestones]
        return replace(self, epochs=epochs, milestones=tuple(dict.fromkeys(milestones)))

    def small(self) -> "Recipe":
        """What fits few images on few cores: the weights' own norm and normalisation, square crops, batch 32."""
        return replace(self, batch=32, augmentation="crop_flip", pixels=None, crop_fraction=1.0, norm="pretrained")

    def spec(self, backbone: str, image_size: int) -> BackboneSpec:
        """The backbone as this recipe feeds it; a fresh last norm is for networks that end in a LayerNorm.

        Raises WeightsError for a backbone that timm does not know.
        """
        mean, std = self.pixels or own_pixels(backbone)
        return BackboneSpec(backbone, image_size, mean, std, self.crop_fraction, norm=self.norm)


def own_pixels(backbone: str) -> tuple[Rgb, Rgb]:
    """Mean and deviation of RGB values in 0–1 that timm's weights of this name were trained with."""
    settings = known_settings(backbone)
    (r, g, b), (deviation_r, deviation_g, deviation_b) = settings.mean, settings.std
    return (r, g, b), (deviation_r, deviation_g, deviation_b)


RECIPES: dict[str, Recipe] = {
    "cifar100": Recipe(
        20,
        (18,),
        augmentation="cifar100",
        pixels=(CIFAR_MEAN, CIFAR_STD),
        ease_lr=0.025,
        dual_lr=0.03,
        expert=5,
    ),
    "imagenet_r": Recipe(**OF_FEW_IMAGES),
    "cub200": Recipe(augmentation="cub", ease_lr=0.008),
    "cars196": Recipe(tau=0.05, augmentation="cub", **OF_FEW_IMAGES),
}
"""Protocols that the reference has. Others are trained as ImageNet-R is, but with SLCA++'s loss as a server has it."""


def recipe_of(protocol: str) -> Recipe:
    """The recipe of a protocol by name."""
    return RECIPES.get(protocol, Recipe())


@dataclass(frozen=True)
class Training:
    """All that decides how a chain is trained, apart from the method, the seed and the images."""

    spec: BackboneSpec
    recipe: Recipe
    micro_batch: int = paper.BATCH
    backbone_lr: float = paper.HEAD_RATE * paper.BACKBONE_RATIO
    precision: Precision = "fp32"
    threads: int | None = None
    device: str = "cpu"

    def plan(self, seed: int, task: int) -> TuningPlan:
        """Stage 1 of task number `task` (from 0) in the run of `seed`."""
        return TuningPlan(
            epochs=self.recipe.epochs,
            batch_size=self.recipe.batch,
            micro_batch=min(self.recipe.batch, self.micro_batch),
            backbone_lr=self.backbone_lr,
            milestones=self.recipe.milestones,
            precision=self.precision,
            augmentation=self.recipe.augmentation,
            seed=seed * 1_000 + task,
            threads=self.threads,
            view_threads=threads_beside(self.device, self.threads or cores()),
        )

    def adjusted(self, method: Method) -> Method:
        """The method with the protocol's τ, SLCA++'s loss and weight decay, EASE's rate, DualPrompt's settings."""
        return self._with_prompts(self._with_rate(self._with_loss(self._with_tau(method))))

    def changes(self, method: Method) -> dict[str, Any]:
        """What the protocol changes of this method's own stage 1, as plain JSON values; nothing for most."""
        adjusted, found = self.adjusted(method), dict[str, Any]()
        loss, steps = adjusted.objective, adjusted.optimisation
        if isinstance(loss, SymmetricCrossEntropy) and loss != method.objective:
            found["symmetric_cross_entropy"] = [loss.a, loss.b]
        if steps.weight_decay != method.optimisation.weight_decay:
            found["weight_decay"] = steps.weight_decay
        if steps.head_lr != method.optimisation.head_lr:
            found["head_lr"] = steps.head_lr
        if steps.lr_per_256 != method.optimisation.lr_per_256:
            found["lr_per_256"] = steps.lr_per_256
        if adjusted.tuner != method.tuner:
            found["expert"] = self.recipe.expert
        return found

    def _with_prompts(self, method: Method) -> Method:
        if method.tuner != DualPromptTuner():
            return method
        steps = replace(method.optimisation, lr_per_256=self.recipe.dual_lr)
        return replace(method, tuner=replace(method.tuner, expert=self.recipe.expert), optimisation=steps)

    def _with_rate(self, method: Method) -> Method:
        if method.optimisation != EASE_STEPS:
            return method
        return replace(method, optimisation=replace(EASE_STEPS, head_lr=self.recipe.ease_lr))

    def _with_loss(self, method: Method) -> Method:
        loss = SymmetricCrossEntropy(*self.recipe.symmetric)
        if method.objective != SymmetricCrossEntropy() or method.objective == loss:
            return method
        decay = self.recipe.plus_weight_decay
        steps = replace(method.optimisation, weight_decay=decay)
        return _planned(replace(method, objective=loss, optimisation=steps), weight_decay=decay)

    def _with_tau(self, method: Method) -> Method:
        plan = getattr(method.aligner, "plan", None)
        if method.aligner is None or plan is None or plan.tau != paper.TEMPERATURE or self.recipe.tau == plan.tau:
            return method
        return _planned(method, tau=self.recipe.tau)

    def describe(self) -> dict[str, Any]:
        """As plain JSON values. The kind of device alone decides figures, not which one of several it is."""
        milestones = self.recipe.milestones
        return {
            "backbone": self.spec.to_json(),
            "epochs": self.recipe.epochs,
            "milestone": milestones[0] if len(milestones) == 1 else list(milestones),
            "tau": self.recipe.tau,
            "augmentation": self.recipe.augmentation,
            "batch": self.recipe.batch,
            "backbone_lr": self.backbone_lr,
            "precision": self.precision,
            "threads": self.threads,
            "device": torch.device(self.device).type,
        }


def _planned(method: Method, **changes: float) -> Method:
    """With these settings of alignment, where the method aligns."""
    aligner: Any = method.aligner
    plan = getattr(aligner, "plan", None)
    return method if plan is None else replace(method, aligner=replace(aligner, plan=replace(plan, **changes)))
