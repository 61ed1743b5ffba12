"""What one call of `everclass bench` asks for, and the courses and chains that follow from it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from everclass.bench.chain import stem
from everclass.bench.course import Course, Lesson
from everclass.bench.recipe import Recipe, Training, recipe_of
from model import paper
from model.aligners import GaussianAligner, SubSpaceGaussianAligner
from model.backbones.precision import device_of, precision_of
from model.backbones.spec import Pooling
from model.method import Method
from model.methods import METHODS, MODIFIERS, UnknownMethod, method_named, with_alignment
from stream.errors import InvalidContent
from stream.protocols import PROTOCOLS, Dataset, Part, Schedule, split_tasks

MICRO_BATCH_CPU = 32


@dataclass(frozen=True)
class BenchRequest:
    """One comparison. Limits that are None leave the protocol's own; `sizes` are classes per task and win over `tasks`.

    `recipe` auto is `small` where images are limited, else `reference` (`everclass/bench/recipe.py`). `normalise` says
    whose mean and deviation pictures get: the recipe's, or those that the weights were trained with. The default
    backbone is the reference's, trained on ImageNet-21K alone.
    """

    protocol: str
    data: Path
    methods: tuple[str, ...]
    seeds: tuple[int, ...] = paper.SEEDS
    backbone: str = "vit_base_patch16_224.augreg_in21k"
    weights: Path | None = None
    tasks: int | None = None
    sizes: tuple[int, ...] | None = None
    train_per_class: int | None = None
    test_per_class: int | None = None
    evaluation: Literal["test", "validation"] = "test"
    epochs: int | None = None
    milestones: tuple[int, ...] = ()
    image_size: int = 224
    batch: int | None = None
    backbone_lr: float = paper.HEAD_RATE * paper.BACKBONE_RATIO
    recipe: Literal["auto", "reference", "small"] = "auto"
    normalise: Literal["recipe", "weights"] = "recipe"
    norm: Literal["recipe", "pretrained", "fresh"] = "recipe"
    pooling: Pooling = "pretrained"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: str = "auto"
    threads: int | None = None

    @property
    def part(self) -> Part:
        """Which images of the data set."""
        return Part(self.train_per_class, self.test_per_class, self.evaluation, each_domain=self.schedule.by_domain)

    def course(self, dataset: Dataset, seed: int) -> Course:
        """The lessons of one seed. Raises ValueError for tasks that these classes do not make, and for one that nothing
        could be tested on.
        """
        try:
            parts = split_tasks(dataset, self.schedule, seed)
        except InvalidContent as error:
            most = len(dataset.classes)
            raise ValueError(
                f"{error}; say how many with --tasks (up to {most}), or their sizes with --sizes"
            ) from error
        for part in parts:
            if not len(part.test):
                raise ValueError(f"there is no test image for {part.name}, so that nothing can be said about it")
        lessons = [Lesson(part.name, part.classes, part.train, part.test) for part in parts]
        return Course(self.protocol, dataset.classes, lessons, seed)

    def chains(self) -> Iterator[Mapping[str, Method]]:
        """Methods that share stage 1, together; in order of their first. Raises UnknownMethod."""
        groups: dict[tuple[Method, bool], dict[str, Method]] = {}
        for name in self.methods:
            method = method_named(name)
            groups.setdefault(stem(method), {})[name] = method
        yield from groups.values()

    def training(self) -> Training:
        """How stage 1 runs on this machine. Raises WeightsError, and ValueError naming the option at fault."""
        recipe, device = self._recipe(), self._device()
        return Training(
            replace(recipe.spec(self.backbone, self.image_size), pooling=self.pooling),
            recipe,
            micro_batch=MICRO_BATCH_CPU if device == "cpu" else recipe.batch,
            backbone_lr=self.backbone_lr,
            precision=precision_of(self.precision, device, self.backbone),
            threads=self.threads,
            device=device,
        )

    def describe(self) -> dict[str, Any]:
        """What of the request decides figures beside the training, as plain JSON values."""
        return {
            "weights": None if self.weights is None else self.weights.name,
            "tasks": self.tasks,
            "sizes": self.sizes and list(self.sizes),
            "train_per_class": self.train_per_class,
            "test_per_class": self.test_per_class,
            "evaluation": self.evaluation,
        }

    @property
    def schedule(self) -> Schedule:
        """How classes come: the protocol's way too where as many tasks are asked for as it has, though it may not be
        in equal parts.
        """
        usual = PROTOCOLS[self.protocol].schedule
        as_usual = self.tasks is None or (usual.sizes is not None and self.tasks == len(usual.sizes))
        return usual if as_usual and self.sizes is None else Schedule(self.sizes, self.tasks)

    def _recipe(self) -> Recipe:
        recipe = recipe_of(self.protocol)
        limited = self.train_per_class is not None
        if self.recipe == "small" or (self.recipe == "auto" and limited):
            recipe = recipe.small()
        if self.batch is not None:
            recipe = replace(recipe, batch=self.batch)
        if self.normalise == "weights":
            recipe = replace(recipe, pixels=None)
        if self.norm != "recipe":
            recipe = replace(recipe, norm=self.norm)
        recipe = recipe.shortened(self.epochs)
        if not self.milestones:
            return recipe
        if max(self.milestones) >= recipe.epochs:
            raise ValueError(
                f"--milestone {max(self.milestones)}: rates would never fall there in {recipe.epochs} epochs; "
                "say more of them with --epochs"
            )
        return replace(recipe, milestones=self.milestones)

    def _device(self) -> str:
        device = device_of(self.device)
        try:
            torch.zeros(1, device=device).cpu()
        # What torch raises depends on what is missing: the name, the driver, or the build for it.
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"--device {device}: nothing can run there: {reason}") from error
        return device


def aligned(names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The names, and after each that is not aligned yet the same with its head aligned; and why the others have none
    added, by name.

    Raises UnknownMethod for a name that is no method's.
    """
    found: dict[str, Method] = {}
    left_out: dict[str, str] = {}
    for name in dict.fromkeys(names):
        found.setdefault(name, method_named(name))
        if isinstance(found[name].aligner, GaussianAligner | SubSpaceGaussianAligner):
            left_out[name] = "its head is aligned already"
            continue
        other = with_alignment(name)
        method = method_named(other)
        added = [name, *(one for one in found if one not in names)]
        same = next((one for one in added if found[one] == method), None)
        if same is None:
            found[other] = method
        else:
            left_out[name] = f"{name}+ca is the same as {same}"
    return tuple(found), left_out


def modifiers() -> dict[str, list[str]]:
    """The methods that each modifier goes with, in order of their table."""
    return {modifier: [name for name in METHODS if _is_method(f"{name}+{modifier}")] for modifier in MODIFIERS}


def _is_method(name: str) -> bool:
    try:
        method_named(name)
    except UnknownMethod:
        return False
    return True
