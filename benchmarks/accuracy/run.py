"""One seed: tasks learned one after the other by the slow learner, every head judged on all classes seen."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.accuracy.protocol import LabelledPixels, Protocol
from model.backbones.backbone import build, extract_features
from model.backbones.seen import PairedFeatures, Seen
from model.backbones.spec import BackboneSpec
from model.block import Block, lay_out, starting_head
from model.heads.closed_form import linear_discriminant, nearest_mean
from model.heads.head import Head
from model.judging.evaluation import AccuracyMatrix, accuracy_matrix
from model.learning import final, provisional
from model.method import Apart
from model.methods import METHODS, method_named
from model.pixels.preprocess import evaluation_view
from model.snapshot import Snapshot
from model.training.tuning import TuningPlan, TuningProgress, tune

Floats = NDArray[np.float32]
Told = Callable[[str], None]

SLOW, SLCA, SLCA_DRIFT = "slow learner alone", "SLCA", "SLCA, statistics carried"
FEATURES_BATCH = 100


@dataclass(frozen=True)
class Recipe:
    """Backbone, its weights by name, and stage 1; `plan.seed` is overwritten by the run's."""

    spec: BackboneSpec
    weights: dict[str, Tensor]
    plan: TuningPlan
    tasks: int
    train_images: int
    test_images: int


@dataclass
class Outcome:
    """Accuracies by head, and seconds by phase."""

    matrices: dict[str, AccuracyMatrix] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TaskImages:
    """A task's images for the slow learner."""

    images: LabelledPixels
    columns_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Image `index`."""
        return np.asarray(self.images.pixels_NHWC[index])


class SeedRun:
    """Learns the tasks of one seed in order; SLCA is the chain that is learned on from."""

    def __init__(self, protocol: Protocol, recipe: Recipe, seed: int, told: Told, features: Path | None) -> None:
        self._protocol, self._recipe, self._seed, self._told, self._kept = protocol, recipe, seed, told, features
        self._tasks = protocol.class_tasks(seed)
        self._backbone = build(recipe.spec)
        self._backbone.load(recipe.weights)
        METHODS["slca"].tuner.begin(self._backbone, 1, 0)
        root = Snapshot.root(recipe.spec, recipe.weights, self._backbone.feature_dim, "slca")
        self._slca, self._carried = root, root
        self._correct: dict[str, list[list[NDArray[np.bool_]]]] = {}
        self._test: list[Floats] = []
        self._outcome = Outcome()

    def run(self) -> Outcome:
        """All tasks; torch and NumPy are seeded with the run's seed by way of the plan."""
        torch.manual_seed(self._seed)
        for number, classes in enumerate(self._tasks):
            train = self._protocol.train.of(classes)
            self._learn(number, train)
            self._told(f"seed {self._seed} task {number + 1}: {self._figures(number)}")
        matrices = {name: accuracy_matrix(rows) for name, rows in self._correct.items()}
        return replace(self._outcome, matrices=matrices)

    def _learn(self, number: int, train: LabelledPixels) -> None:
        block = lay_out(self._slca, [str(label) for label in train.labels_N])
        with self._timed("features"):
            old_ND = self._features(train)
        self._judge_provisional(number, block, old_ND)
        with self._timed("slow learner"):
            plan = replace(self._recipe.plan, seed=self._seed * 1_000 + number)
            head = starting_head(self._slca, block, plan.seed)
            state = tune(self._backbone, TaskImages(train, block.image_positions_N), head, plan, on_step=self._step)
        with self._timed("features"):
            features = PairedFeatures(Seen(old_ND), Seen(self._features(train)))
        self._slca, self._carried = (
            self._final(name, base, state.backbone, state.head, features, block, number)
            for name, base in (("slca", self._slca), ("slca+drift", self._carried))
        )
        self._judge(number, features)

    def _final(
        self,
        method: str,
        base: Snapshot,
        backbone: dict[str, Tensor],
        head: Head,
        features: PairedFeatures,
        block: Block,
        number: int,
    ) -> Snapshot:
        with self._timed("alignment"):
            return final(
                base,
                Apart(backbone),
                head,
                features,
                block,
                task=str(number),
                method=method_named(method),
                seed=self._seed,
            )

    def _judge_provisional(self, number: int, block: Block, old_ND: Floats) -> None:
        """The closed-form head on the base's backbone, which serves until the slow learner is done."""
        with self._timed("evaluation"):
            test = [*self._test, self._features(self._protocol.test.of(self._tasks[number]))]
        for name, base in (
            ("discriminant before tuning", self._slca),
            ("discriminant before tuning, carried", self._carried),
        ):
            version = provisional(base, Seen(old_ND), block, task=str(number), method=METHODS["sl"], seed=0)
            self._score(name, version.aligned, test, version.labels)

    def _judge(self, number: int, features: PairedFeatures) -> None:
        with self._timed("evaluation"):
            self._test = [self._features(self._protocol.test.of(classes)) for classes in self._tasks[: number + 1]]
        heads = {
            SLOW: self._slca.unaligned,
            SLCA: self._slca.aligned,
            "linear discriminant": linear_discriminant(self._slca.statistics),
            "nearest mean": nearest_mean(self._slca.statistics),
            SLCA_DRIFT: self._carried.aligned,
            "linear discriminant, statistics carried": linear_discriminant(self._carried.statistics),
        }
        for name, head in heads.items():
            self._score(name, head, self._test, self._slca.labels)
        if self._kept is not None:
            self._keep(number, features)

    def _score(self, name: str, head: Head, test: list[Floats], labels: tuple[str, ...]) -> None:
        columns = {label: column for column, label in enumerate(labels)}
        row = []
        for classes, features_ND in zip(self._tasks, test, strict=False):
            truth = self._protocol.test.of(classes).labels_N
            wanted_N = np.array([columns[str(label)] for label in truth])
            row.append(head.logits(features_ND).argmax(axis=1) == wanted_N)
        self._correct.setdefault(name, []).append(row)

    def _features(self, images: LabelledPixels) -> Floats:
        views = (evaluation_view(pixels_HWC, self._recipe.spec) for pixels_HWC in images.pixels_NHWC)
        return extract_features(self._backbone, views, batch_size=FEATURES_BATCH, precision=self._recipe.plan.precision)

    def _keep(self, number: int, features: PairedFeatures) -> None:
        """What experiments with other heads need, without learning again."""
        assert self._kept is not None
        self._kept.mkdir(parents=True, exist_ok=True)
        np.savez(
            self._kept / f"seed{self._seed}-task{number}.npz",
            old_ND=features.before.features_ND,
            new_ND=features.after.features_ND,
            test_ND=np.concatenate(self._test),
            weight_CD=self._slca.unaligned.weight_CD,
            bias_C=self._slca.unaligned.bias_C,
        )

    def _figures(self, number: int) -> str:
        last = {name: np.concatenate(rows[number]).mean() for name, rows in self._correct.items()}
        return ", ".join(f"{name} {100 * accuracy:.1f}" for name, accuracy in last.items())

    def _step(self, progress: TuningProgress) -> None:
        if progress.step % 40 == 0:
            self._told(
                f"  step {progress.step}/{progress.steps} loss {progress.loss:.3f} "
                f"accuracy {progress.accuracy:.3f} {progress.seconds:.0f} s"
            )

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        passed = time.perf_counter() - began
        self._outcome.seconds[phase] = self._outcome.seconds.get(phase, 0.0) + passed
