"""The one suite that every method must pass: a method is tested before its author writes a test.

It drives `learn_task` on a few handwritten digits with timm's tiny networks.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Protocol

import numpy as np
import pytest
import torch
from safetensors.torch import load

from model.aligners import RandomProjectionAligner
from model.backbones.backbone import build
from model.backbones.features import Images, features_of
from model.backbones.spec import BackboneSpec, Pooling
from model.continual import Learned, Told, classifier_of, learn_task
from model.first_stage import network_of
from model.method import Method
from model.methods import method_named
from model.snapshot import KEPT, Snapshot
from model.training.tuning import TuningPlan
from model.training.tuning_state import TuningState
from tests.digits import pictures
from tests.model.other_process import elsewhere
from tests.model.pictures import Pictures, made
from tests.model.traces import Traces

PLAN = TuningPlan(epochs=2, batch_size=8, micro_batch=8, milestones=(1,), backbone_lr=1e-3, seed=3, threads=1)
LONGER = replace(PLAN, epochs=8, milestones=(6,), head_lr=0.005, backbone_lr=5e-4, augmentation="none")
"""What every method needs to tell a few handwritten digits apart, which are other digits in a mirror."""

EACH = 10
LESSONS = ([3, 6, 4], [0, 7], [9], [2, 1], [6, 5])
"""Unequal tasks, a task of one class, and a known class again; the digits of a task are easily told apart."""

FEW = 6
"""Images a class where bytes are compared, and nothing need be learned well."""

UNSEEN = 14
"""Seed of pictures that no lesson shows."""

LEAST_OF_THREE, LEAST_OF_TWO, LEAST_RANKED = 0.5, 0.7, 0.65
"""At least three standard deviations from guesses, at 30 pictures a class."""


Which = str | Callable[[], Method]
"""A method by name, or a function of a module that makes one: so that another process makes its own."""


class Source(Protocol):
    """Pictures of classes and their labels `c0`, `c1` …; another seed gives other pictures."""

    def __call__(self, classes: Sequence[int], per_class: int, seed: int = 0) -> tuple[list[np.ndarray], list[str]]: ...


def real(classes: Sequence[int], per_class: int, seed: int = 0) -> tuple[list[np.ndarray], list[str]]:
    """Handwritten digits."""
    start = EACH * seed
    shown = {one: pictures(one)[start : start + per_class] for one in classes}
    return [picture for one in classes for picture in shown[one]], [f"c{one}" for one in classes for _ in shown[one]]


@dataclass
class Lineage:
    """One method's way through lessons, a task after the other."""

    method: Method
    plan: TuningPlan = PLAN
    source: Source = made
    each: int = EACH
    backbone: str = "test_vit"
    pooling: Pooling = "pretrained"
    device: str = "cpu"
    last: Learned | None = None
    seen: list[int] = field(default_factory=list)

    @property
    def root(self) -> Snapshot:
        return root_of(self.backbone, self.pooling)

    @property
    def version(self) -> Snapshot:
        return self.root if self.last is None else self.last.snapshot

    def learn(
        self,
        classes: list[int],
        each: int | None = None,
        *,
        resume: TuningState | None = None,
        told: Told | None = None,
    ) -> Snapshot:
        shown, labels = self.source(classes, each or self.each, seed=len(self.seen))
        self.last = learn_task(
            self.version,
            Pictures(shown, np.zeros(len(labels), np.int64)),
            labels,
            self.method,
            replace(self.plan, seed=self.plan.seed + len(self.seen)),
            task=f"task-{len(self.seen)}",
            root=self.root,
            device=self.device,
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

    @property
    def known(self) -> list[int]:
        """By column."""
        return list(dict.fromkeys(self.seen))

    def answers(self, classes: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Finite logits over all known classes for unseen digits, and the columns of their classes."""
        assert self.version.labels == tuple(f"c{one}" for one in self.known)
        shown, labels = real(classes, 30, seed=UNSEEN)
        logits_NC = self.logits(Pictures(shown, np.zeros(len(labels), np.int64)))
        assert logits_NC.shape == (len(labels), len(self.known)) and np.isfinite(logits_NC).all()
        return logits_NC, np.array([self.version.labels.index(label) for label in labels])

    def fork(self) -> "Lineage":
        """One more that has come as far."""
        return replace(self, seen=list(self.seen))


@cache
def root_of(backbone: str, pooling: Pooling = "pretrained") -> Snapshot:
    """A tiny network that knows nothing, the same each time."""
    spec = BackboneSpec(backbone, 32, (0.5,) * 3, (0.5,) * 3, pooling=pooling)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(spec)
    return Snapshot.root(spec, network.state(), network.feature_dim, "checked")


def tested(which: Which) -> Method:
    """The method, with fewer random projections than are worth while for its tiny pictures, and rates for few steps."""
    if callable(which):
        return which()
    method = method_named(which)
    if isinstance(method.aligner, RandomProjectionAligner):
        return replace(method, aligner=replace(method.aligner, size=100))
    if method.optimisation.lr_per_256 is not None:
        return replace(method, optimisation=replace(method.optimisation, lr_per_256=0.05))
    if method.optimisation.optimiser == "adam":
        return replace(method, optimisation=replace(method.optimisation, head_lr=0.01))
    return method


class Stopped(Exception):
    """Raised by a checkpoint, as a kill would."""


def beginning(which: Which) -> Lineage:
    """Before the first task of a story."""
    return Lineage(tested(which), source=real, each=FEW)


@dataclass(frozen=True)
class Stored:
    """What is left of a story when its process has ended: bytes and JSON of the version, and which classes came."""

    which: Which
    parts: dict[str, bytes]
    description: str
    seen: tuple[int, ...]

    @classmethod
    def of(cls, which: Which, lineage: Lineage) -> "Stored":
        """The last version."""
        version = lineage.version
        return cls(which, version.to_parts(), json.dumps(version.describe()), tuple(lineage.seen))

    def read(self) -> Lineage:
        """With a method of its own."""
        lineage = beginning(self.which)
        version = Snapshot.from_parts(self.parts, json.loads(self.description))
        return replace(lineage, last=Learned(version, network_of(version, lineage.method)), seen=list(self.seen))


def continued(stored: Stored, classes: list[int], state: bytes | None = None) -> tuple[Stored, np.ndarray]:
    """The next version, whose task may have come as far as `state`, and its logits for unseen digits."""
    lineage = stored.read()
    lineage.learn(classes, resume=None if state is None else TuningState.from_bytes(state))
    return Stored.of(stored.which, lineage), unseen_logits(lineage)


def unseen_logits(lineage: Lineage) -> np.ndarray:
    """For a few unseen digits of three tasks."""
    return lineage.logits(Pictures(real([3, 0, 2], 4, seed=UNSEEN)[0], np.zeros(12, np.int64)))


@contextmanager
def generators(seed: int) -> Iterator[None]:
    """Python's, NumPy's and torch's global ones hold this within, and what they held after it."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@lru_cache(maxsize=1)
def story(which: Which) -> tuple[Lineage, Lineage, Lineage]:
    """The method after its first, second and third task: what the checks of one method go on from, each on a fork."""
    lineage, chapters = beginning(which), []
    with generators(1):
        for classes in (LESSONS[0], LESSONS[1], LESSONS[3]):
            lineage.learn(classes)
            chapters.append(lineage.fork())
    first, second, third = chapters
    return first, second, third


def check_learns(which: Which) -> None:
    """Learns every task: of three classes, of two, of one, of a known class and a new one."""
    learns(tested(which))


def learns(method: Method, pooling: Pooling = "pretrained", device: str = "cpu") -> None:
    """Each lesson's classes are told from each other, and one alone stands out from what was known before.

    Among the lesson's own columns: who forgets, or whose heads know nothing of each other, learns as well.
    """
    lineage = Lineage(method, LONGER, real, pooling=pooling, device=device)
    for classes in (*LESSONS[:3], LESSONS[4]):
        lineage.learn(classes)
        own = np.array([lineage.known.index(one) for one in classes])
        logits_NC, columns_N = lineage.answers(classes if len(classes) > 1 else lineage.known)
        if len(own) > 1:
            right = own[logits_NC[:, own].argmax(axis=1)] == columns_N
            assert right.mean() > (LEAST_OF_TWO if len(own) == 2 else LEAST_OF_THREE)
        else:
            margin_N = logits_NC[:, own[0]] - np.delete(logits_NC, own[0], axis=1).max(axis=1)
            above = margin_N[columns_N == own[0], None] > margin_N[columns_N != own[0]]
            assert above.mean() > LEAST_RANKED


def check_begins_with_one_class(which: Which) -> None:
    """A lineage whose classes come one by one from the first on tells them apart, though no task of it trains.

    A loss over all rows trains on the second class, and on a third alone, where what is left of the others is the
    memory's affair: two are told apart then.
    """
    method = tested(which)
    lineage = Lineage(method, LONGER, real)
    one_by_one, least = (([3], [6]), LEAST_OF_TWO) if method.scope == "seen" else (([3], [6], [4]), LEAST_OF_THREE)
    for classes in one_by_one:
        lineage.learn(classes)
        logits_NC, columns_N = lineage.answers(lineage.known)
    assert (logits_NC.argmax(axis=1) == columns_N).mean() > least


def check_goes_on(which: Which) -> None:
    """The classes of every later task are among its answers, however little it learned of them."""
    lineage = story(which)[2].fork()
    for classes in (LESSONS[2], LESSONS[4]):
        lineage.learn(classes)
        lineage.answers([LESSONS[0][0]])


def check_restored(which: Which) -> None:
    """Another process, to which all that came before is a stored snapshot, learns on and answers exactly as this one:
    whatever a method remembers beside that, in its objects or in globals, is not there.
    """
    _, second, third = story(which)
    restored, logits_NC = elsewhere(continued, Stored.of(which, second), LESSONS[3])
    assert restored == Stored.of(which, third), "another process learns on otherwise"
    np.testing.assert_array_equal(logits_NC, unseen_logits(third))


def check_resumed(which: Which) -> None:
    """Stopped after an epoch of the last of two tasks that trains and gone on by another process from the stored state:
    the same bytes.

    A method in which nobody reads what a task would train passes through it without a checkpoint.
    """
    first, second, _ = story(which)
    base, whole, classes = (
        (first, second, LESSONS[1]) if first.method.learns(2) else (beginning(which), first, LESSONS[0])
    )
    saved: list[bytes] = []

    def stop(state: TuningState) -> None:
        saved.append(state.to_bytes())
        raise Stopped

    if not first.method.learns(1):
        base.fork().learn(classes, told=Told(on_checkpoint=stop))
        return
    with pytest.raises(Stopped):
        base.fork().learn(classes, told=Told(on_checkpoint=stop))
    resumed, _ = elsewhere(continued, Stored.of(which, base), classes, saved[0])
    assert resumed == Stored.of(which, whole), "another process goes on otherwise"


def check_declares_its_memory(which: Which) -> None:
    """Whatever it keeps of single images stands in its memory's slot, and a method without memory keeps none."""
    declares_its_memory(tested(which))


def declares_its_memory(method: Method) -> None:
    """Of four images a class nothing more is kept than of one but in the memory, after each of three tasks, and none of
    them is found in anything else after the last one. Statistics, and the directions of a head's spread, grow by a row
    an image at most, less one.
    """
    sizes: list[list[dict[str, torch.Size]]] = []
    for each in (1, 4):
        lineage, shown, versions = Lineage(method, replace(PLAN, epochs=1, milestones=()), real), list[np.ndarray](), []
        for classes in (LESSONS[0], LESSONS[2], LESSONS[1]):
            shown += real(classes, each, seed=len(lineage.seen))[0]
            versions.append(lineage.learn(classes, each))
            assert method.memory is not None or not any(key.startswith("memory/") for key in lineage.version.kept)
            assert all(len(factor_RD) <= each - 1 for factor_RD in lineage.version.statistics.factors)
            spread = lineage.version.aligned.spread
            assert spread is None or spread.direction_CRD.shape[1] <= each - 1
        sizes.append([sizes_beside(version) for version in versions])
    assert sizes[0] == sizes[1], "more is kept of more images"
    traces, before = Traces.of(shown, lineage.root.spec), parts_of(lineage.root)
    holding = [
        key
        for key, tensor in beside_the_memory(lineage.version).items()
        if not (key in before and torch.equal(tensor, before[key])) and traces.are_in(tensor)
    ]
    assert not holding, "pictures are kept outside of the memory"


def parts_of(version: Snapshot) -> dict[str, torch.Tensor]:
    """All tensors that are stored of a version."""
    return {
        f"{part}/{key}": tensor for part, stored in version.to_parts().items() for key, tensor in load(stored).items()
    }


def beside_the_memory(version: Snapshot) -> dict[str, torch.Tensor]:
    """Those that are no memory's."""
    return {key: tensor for key, tensor in parts_of(version).items() if not key.startswith(f"learner/{KEPT}memory/")}


def sizes_beside(version: Snapshot) -> dict[str, torch.Size]:
    """Of all but the memory, class statistics and the spread that a head has of these."""
    beside = beside_the_memory(replace(version, aligned=version.aligned.linear)).items()
    return {key: tensor.shape for key, tensor in beside if not key.startswith("statistics/")}


def check_deterministic(which: Which) -> None:
    """The same lessons give the same bytes, whatever the global generators hold."""
    first, second, _ = story(which)
    with generators(2):
        lineage = beginning(which)
        for classes, known in zip(LESSONS[:2], (first, second), strict=True):
            assert lineage.learn(classes).to_parts() == known.version.to_parts()


CHECKS = (
    check_learns,
    check_begins_with_one_class,
    check_restored,
    check_resumed,
    check_declares_its_memory,
    check_deterministic,
)
