"""One task of any method from its images to the next snapshot, in memory: what benchmarks and `check_method` drive.

A server goes through the same steps (`service/learner/story.py`), stores what lies between them, and publishes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.backbones.backbone import PixelBackbone
from model.backbones.features import Images, seen_by
from model.backbones.seen import OF_DRIFT, OF_STATISTICS, PairedFeatures
from model.block import Block, lay_out, starting_head
from model.first_stage import needs_tuning, network_of, positions, remembered, settled, standing_end, start
from model.heads.head import Head
from model.learning import Making, final, provisional
from model.method import Apart, Classifier, Method, TaskEnd, slot
from model.snapshot import Snapshot
from model.stopping import Check, unchecked
from model.training.tuning import OnCheckpoint, OnStep, TuningPlan, tune
from model.training.tuning_state import TuningState

Floats = NDArray[np.float32]
Phase = Literal["features", "training", "alignment"]


@dataclass(frozen=True, eq=False)
class Placed:
    """Images with the position of each one's class in the head that is trained."""

    images: Images
    columns_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.columns_N)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Image `index`, H×W×3 RGB."""
        return self.images.pixels(index)


@dataclass(frozen=True)
class Told:
    """Whom to tell of what happens; each may raise to stop. `check` is called between the steps of alignment."""

    on_phase: Callable[[Phase], None] = lambda phase: None
    on_step: OnStep = lambda progress: None
    on_checkpoint: OnCheckpoint = lambda state: None
    check: Check = unchecked


@dataclass(frozen=True, eq=False)
class Tuned:
    """What stage 1 made of a task: all that methods share which differ only in what they do with heads and statistics.

    `moved` and `head` are None where there was nothing to tune: the backbone stands as it was.
    """

    network: PixelBackbone
    features: PairedFeatures
    block: Block
    placed: Placed
    moved: Apart | None = None
    head: Head | None = None
    kept: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Learned:
    """The snapshot after a task, and the network that computes its features."""

    snapshot: Snapshot
    network: PixelBackbone


def learn_task(
    base: Snapshot,
    images: Images,
    labels: Sequence[str],
    method: Method,
    plan: TuningPlan,
    *,
    task: str,
    root: Snapshot | None = None,
    device: str = "cpu",
    resume: TuningState | None = None,
    told: Told | None = None,
) -> Learned:
    """Learn one task on `base`; `root` is where methods that restart begin, by default the base.

    `plan.seed` decides all that is random. `resume` is a state that `told.on_checkpoint` was given by an earlier run of
    the same task. Raises ValueError without images.
    """
    told = told or Told()
    tuned = tune_task(base, images, labels, method, plan, root=root, device=device, resume=resume, told=told)
    told.on_phase("alignment")
    snapshot = finished(base, tuned, method, plan, task=task, device=device, check=told.check)
    return Learned(snapshot, tuned.network)


def tune_task(
    base: Snapshot,
    images: Images,
    labels: Sequence[str],
    method: Method,
    plan: TuningPlan,
    *,
    root: Snapshot | None = None,
    device: str = "cpu",
    resume: TuningState | None = None,
    told: Told,
) -> Tuned:
    """The first half of `learn_task`: stage 1, and the task's features before and after it."""
    block = lay_out(base, labels)
    placed = Placed(images, positions(block, method))
    network = network_of(base, method, device)
    told.on_phase("features")
    tunes = needs_tuning(base, block, method)
    before = seen_by(network, images, plan, method.views & (OF_DRIFT if tunes else OF_STATISTICS))
    if not tunes:
        return Tuned(network, PairedFeatures(before, before), block, placed)
    if method.restarts:
        base = restarted(base, root or base, plan.seed)
        network = network_of(base, method, device)
    started = start(network, base, block, placed, method, plan)
    told.on_phase("training")
    state = tune(
        network,
        started.images,
        started.head,
        plan,
        stage=started.stage,
        resume=resume,
        on_step=told.on_step,
        on_checkpoint=told.on_checkpoint,
    )
    moved = settled(network, started, state, method)
    kept = remembered(TaskEnd(network, state.head, placed, started.start), method)
    told.on_phase("features")
    pair = PairedFeatures(before, seen_by(network, images, plan, method.views))
    return Tuned(network, pair, block, placed, moved, state.head, kept)


def finished(
    base: Snapshot,
    tuned: Tuned,
    method: Method,
    plan: TuningPlan,
    *,
    task: str,
    device: str = "cpu",
    check: Check = unchecked,
) -> Snapshot:
    """The second half: statistics, what parts keep, and the head over all classes.

    `base` may be of another method than `tuned`, if the two differ in aligner and drift alone, or `tuned` has views
    that this one does not ask for. `check` is called between the steps of alignment and may raise to stop.
    """
    features = tuned.features
    tuned = replace(
        tuned, features=PairedFeatures(features.before.only(method.views), features.after.only(method.views))
    )
    making = Making(method, plan.seed, device, check)
    if tuned.moved is None or tuned.head is None:
        return _on_standing_backbone(base, tuned, plan, making, task)
    return final(base, tuned.moved, tuned.head, tuned.features, tuned.block, making, task=task, kept=tuned.kept)


def classifier_of(snapshot: Snapshot, method: Method) -> Classifier:
    """What answers for a snapshot of this method: its aligned head, or what its aligner makes of it."""
    if method.aligner is None:
        return snapshot.aligned
    return method.aligner.classifier(snapshot.aligned, slot(snapshot.kept, "aligner"))


RESTART = 1
"""Beside the seed, so that rows drawn again are not those that a task's new classes are about to get."""


def restarted(base: Snapshot, root: Snapshot, seed: int) -> Snapshot:
    """The base with the root's weights and a head that knows nothing: every row is drawn like a new class's."""
    kept = {name: tensor for name, tensor in base.kept.items() if not name.startswith(("tuner/", "averaging/"))}
    return replace(base, backbone=root.backbone, unaligned=_drawn_again(base, seed), kept=kept, tuned_tasks=0)


def _drawn_again(base: Snapshot, seed: int) -> Head:
    if not base.classes:
        return base.unaligned
    nothing = Snapshot.root(base.spec, base.backbone, base.unaligned.feature_dim, base.method)
    return starting_head(nothing, lay_out(nothing, base.labels), [seed, RESTART])


def _on_standing_backbone(base: Snapshot, tuned: Tuned, plan: TuningPlan, making: Making, task: str) -> Snapshot:
    method = making.method
    snapshot = provisional(base, tuned.features.before, tuned.block, making, task=task)
    kept = remembered(standing_end(tuned.network, snapshot, base, tuned.block, tuned.placed, method, plan), method)
    return replace(snapshot, kept={**snapshot.kept, **kept})
