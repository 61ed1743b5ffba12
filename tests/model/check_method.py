"""The one suite that every method must pass: a method is tested before its author writes a test.

It drives `learn_task` on tiny made pictures of clearly different classes with timm's tiny networks.
"""

from dataclasses import dataclass, field, replace
from functools import cache, lru_cache

import numpy as np
import pytest
import torch

from model.aligners import RandomProjectionAligner
from model.backbone import build
from model.continual import Images, Learned, Told, classifier_of, features_of, learn_task
from model.method import Method
from model.methods import method_named
from model.snapshot import Snapshot
from model.spec import BackboneSpec
from model.tuning import TuningPlan
from model.tuning_state import TuningState
from tests.model.pictures import Pictures, made

PLAN = TuningPlan(epochs=2, batch_size=8, micro_batch=8, milestones=(1,), backbone_lr=1e-3, seed=3, threads=1)
LONGER = replace(PLAN, epochs=6, milestones=(5,))
"""What methods that move little need to tell three classes apart."""

EACH = 10
LESSONS = ([0, 1, 2], [3, 4], [5], [6, 7], [1, 8])
"""Unequal tasks, a task of one class, and a known class that comes again."""


@dataclass
class Lineage:
    """One method's way through lessons, a task after the other."""

    method: Method
    plan: TuningPlan = PLAN
    backbone: str = "test_vit"
    last: Learned | None = None
    seen: list[int] = field(default_factory=list)

    @property
    def root(self) -> Snapshot:
        return root_of(self.backbone)

    @property
    def version(self) -> Snapshot:
        return self.root if self.last is None else self.last.snapshot

    def learn(
        self, classes: list[int], each: int = EACH, *, resume: TuningState | None = None, told: Told | None = None
    ) -> Snapshot:
        pictures, labels = made(classes, each, seed=len(self.seen))
        self.last = learn_task(
            self.version,
            Pictures(pictures, np.zeros(len(labels), np.int64)),
            labels,
            self.method,
            replace(self.plan, seed=self.plan.seed + len(self.seen)),
            task=f"task-{len(self.seen)}",
            root=self.root,
            resume=resume,
            told=told,
        )
        self.seen += classes
        return self.last.snapshot

    def logits(self, images: Images) -> np.ndarray:
        assert self.last is not None
        return classifier_of(self.version, self.method).logits(features_of(self.last.network, images, self.plan))

    def accuracy(self, classes: list[int]) -> float:
        pictures, labels = made(classes, 6, seed=99)
        answers = self.logits(Pictures(pictures, np.zeros(len(labels), np.int64))).argmax(axis=1)
        names = self.version.labels
        return float(np.mean([names[column] == label for column, label in zip(answers, labels, strict=True)]))

    def fork(self) -> "Lineage":
        """One more that has come as far."""
        return replace(self, seen=list(self.seen))

    def through_bytes(self) -> None:
        """As after a restart: only what a snapshot stores is left."""
        assert self.last is not None
        stored = Snapshot.from_parts(self.version.to_parts(), self.version.describe())
        self.last = replace(self.last, snapshot=stored)


@cache
def root_of(backbone: str) -> Snapshot:
    """A tiny network that knows nothing, the same each time."""
    spec = BackboneSpec(backbone, 32, (0.5,) * 3, (0.5,) * 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(spec)
    return Snapshot.root(spec, network.state(), network.feature_dim, "checked")


def tested(name: str) -> Method:
    """The method, with fewer random projections than are worth while for its tiny pictures, and rates for few steps."""
    method = method_named(name)
    if isinstance(method.aligner, RandomProjectionAligner):
        return replace(method, aligner=replace(method.aligner, size=100))
    if method.optimisation.lr_per_256 is not None:
        return replace(method, optimisation=replace(method.optimisation, lr_per_256=0.3))
    if method.optimisation.optimiser == "adam":
        return replace(method, optimisation=replace(method.optimisation, head_lr=0.01))
    return method


class Stopped(Exception):
    """Raised by a checkpoint, as a kill would."""


@lru_cache(maxsize=1)
def story(name: str) -> tuple[Lineage, Lineage, Lineage]:
    """The method after its first, second and third task: what the checks of one method go on from, each on a fork."""
    lineage, chapters = Lineage(tested(name)), []
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for classes in (LESSONS[0], LESSONS[1], LESSONS[3]):
            lineage.learn(classes)
            chapters.append(lineage.fork())
    first, second, third = chapters
    return first, second, third


def check_learns(name: str) -> None:
    """Learns its first task."""
    lineage = Lineage(tested(name), LONGER)
    lineage.learn(LESSONS[0])
    assert lineage.accuracy(LESSONS[0]) > 0.6


def check_goes_on(name: str) -> None:
    """The classes of every later task are among its answers: of tasks of any size, of one class, of a known class."""
    lineage = story(name)[2].fork()
    for classes in (LESSONS[2], LESSONS[4]):
        lineage.learn(classes)
        logits_NC = lineage.logits(Pictures(made([0], 2)[0], np.zeros(2, np.int64)))
        assert logits_NC.shape == (2, len(set(lineage.seen)))
        assert np.isfinite(logits_NC).all()
    assert lineage.version.labels == tuple(f"c{one}" for one in dict.fromkeys(lineage.seen))


def check_restored(name: str) -> None:
    """A snapshot that was stored and read back learns on and answers exactly as the one in memory."""
    _, second, third = story(name)
    restored = second.fork()
    restored.through_bytes()
    assert restored.learn(LESSONS[3]).to_parts() == third.version.to_parts()
    pictures = Pictures(made([0, 3, 6], 4)[0], np.zeros(12, np.int64))
    np.testing.assert_array_equal(restored.logits(pictures), third.logits(pictures))


def check_resumed(name: str) -> None:
    """Stopped after an epoch of the last of two tasks that trains and gone on from the stored state: the same bytes.

    A method in which nobody reads what a task would train passes through it without a checkpoint.
    """
    first, second, _ = story(name)
    method = first.method
    stopped, whole, classes = (
        (first.fork(), second, LESSONS[1]) if method.learns(2) else (Lineage(method), first, LESSONS[0])
    )
    saved: list[bytes] = []

    def stop(state: TuningState) -> None:
        saved.append(state.to_bytes())
        raise Stopped

    if not method.learns(1):
        stopped.learn(classes, told=Told(on_checkpoint=stop))
        return
    with pytest.raises(Stopped):
        stopped.learn(classes, told=Told(on_checkpoint=stop))
    resumed = stopped.learn(classes, resume=TuningState.from_bytes(saved[0]))
    assert resumed.to_parts() == whole.version.to_parts()


def check_declares_its_memory(name: str) -> None:
    """Whatever it keeps of images stands in its memory's slot, and a method without memory keeps none."""
    lineage = story(name)[0]
    pictures = made(LESSONS[0], EACH, seed=0)[0]
    version = lineage.version
    shapes = {slot.split("/")[0] for slot, tensor in version.kept.items() if tensor.dtype == torch.uint8}
    assert shapes <= {"memory"}
    assert lineage.method.memory is not None or not any(key.startswith("memory/") for key in version.kept)
    pixels = pictures[0].astype(np.float32).ravel()
    for key, tensor in version.kept.items():
        if not key.startswith("memory/") and tensor.numel() >= pixels.size:
            rows = tensor.float().reshape(-1)[: tensor.numel() // pixels.size * pixels.size].reshape(-1, pixels.size)
            assert not bool((rows == torch.from_numpy(pixels)).all(dim=1).any())


def check_deterministic(name: str) -> None:
    """The same lessons give the same bytes, whatever torch's and NumPy's global generators hold."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        np.random.seed(2)
        lineage = Lineage(tested(name))
        for classes, known in zip(LESSONS[:2], story(name)[:2], strict=True):
            assert lineage.learn(classes).to_parts() == known.version.to_parts()


CHECKS = (
    check_learns,
    check_goes_on,
    check_restored,
    check_resumed,
    check_declares_its_memory,
    check_deterministic,
)
