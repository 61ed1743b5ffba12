"""What a version is worth on the held-out images of its ancestry, and whether it may take over."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.judging import gate
from model.judging.gate import Check, GateLimits, GateReport, Judged

Correct = Mapping[str, bool]
"""By pixel digest, whether a version was right on a held-out image (argmax among all its classes)."""


@dataclass(frozen=True)
class Answers:
    """A version's logits on held-out images, with each image's label, digest and the task that brought it."""

    logits_NC: NDArray[np.float32]
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    digests: tuple[str, ...]
    tasks: tuple[str, ...]

    def correct_N(self, among: frozenset[str] | None = None) -> NDArray[np.bool_]:
        """Whether each image is answered right, argmax among `among` (default: all classes)."""
        if not self.labels:
            return np.zeros(0, dtype=bool)
        columns = [c for c, label in enumerate(self.classes) if among is None or label in among]
        best = np.asarray(columns)[self.logits_NC[:, columns].argmax(axis=1)]
        return np.array([self.classes[c] == label for c, label in zip(best, self.labels, strict=True)])

    def columns_N(self) -> NDArray[np.int64]:
        """The column of each image's label."""
        column = {label: c for c, label in enumerate(self.classes)}
        return np.array([column[label] for label in self.labels], dtype=np.int64)


@dataclass(frozen=True)
class Forebear:
    """An earlier version as the judgement needs it: its classes, its figures over `images`, and what it got right.

    `correct` may be empty where only the figures are asked for.
    """

    version: int
    classes: frozenset[str]
    accuracy: float | None
    accuracy_per_task: Mapping[str, float]
    images: int
    correct: Correct = field(default_factory=dict)


@dataclass(frozen=True)
class Forebears:
    """Whom a version is held against: its base, the best of the lineage, and a final's own provisional."""

    base: Forebear | None = None
    best: Forebear | None = None
    provisional: Forebear | None = None
    lineage: tuple[Forebear, ...] = ()


@dataclass(frozen=True)
class BackboneComparison:
    """How often the version whose backbone stage 1 moved, and the one whose backbone stands, are right on the held-out
    images, all classes.
    """

    images: int
    moved: float
    standing: float

    @property
    def pays(self) -> bool:
        """Whether moving gained anything: where it did not, it only made old statistics less true."""
        return self.moved > self.standing

    def to_json(self) -> dict[str, Any]:
        """As a version tells of it."""
        return {
            "moved": self.pays,
            "images": self.images,
            "accuracy_moved": self.moved,
            "accuracy_standing": self.standing,
        }


@dataclass(frozen=True)
class Judgement:
    """The figures of a version; rates are None where there is no held-out image."""

    accuracy: float | None
    accuracy_per_task: list[dict[str, Any]]
    forgetting: float | None
    report: GateReport
    correct: Correct

    def correct_bytes(self) -> bytes:
        """What was right by image, as the part that later versions are compared with."""
        return json.dumps({digest: bool(right) for digest, right in self.correct.items()}, sort_keys=True).encode()


def judge(answers: Answers, forebears: Forebears, limits: GateLimits, *, enabled: bool) -> Judgement:
    """The figures and the gate's report of a version from its answers."""
    correct_N = answers.correct_N()
    per_task = _per_task(answers, correct_N)
    checks = _checks(answers, correct_N, forebears, limits) if enabled else []
    return Judgement(
        accuracy=float(correct_N.mean()) if len(correct_N) else None,
        accuracy_per_task=per_task,
        forgetting=_forgetting(per_task, forebears),
        report=gate.report(checks),
        correct=dict(zip(answers.digests, correct_N.tolist(), strict=True)),
    )


def compare_backbones(moved_N: NDArray[np.bool_], standing_N: NDArray[np.bool_]) -> BackboneComparison | None:
    """Both on the same images; None where there are none. Unlike a gate this refuses nothing, so that few images do."""
    if not len(moved_N):
        return None
    return BackboneComparison(len(moved_N), float(moved_N.mean()), float(standing_N.mean()))


def best_of(lineage: Sequence[Forebear]) -> Forebear | None:
    """The version of the lineage with the highest accuracy on its own images, the oldest where equal."""
    judged = [one for one in lineage if one.accuracy is not None and one.images >= gate.FEWEST_IMAGES]
    return max(judged, key=lambda one: (one.accuracy or 0.0, -one.version), default=None)


def _per_task(answers: Answers, correct_N: NDArray[np.bool_]) -> list[dict[str, Any]]:
    tasks = np.array(answers.tasks)
    rows = []
    for task in dict.fromkeys(answers.tasks):
        mine_N = tasks == task
        rows.append({"task": task, "accuracy": float(correct_N[mine_N].mean()), "images": int(mine_N.sum())})
    return rows


def _forgetting(per_task: list[dict[str, Any]], forebears: Forebears) -> float | None:
    """Mean over earlier tasks of the best accuracy that the lineage ever had there, less today's (method.md 5)."""
    now = {row["task"]: row["accuracy"] for row in per_task}
    best: dict[str, float] = {}
    for one in forebears.lineage:
        for task, accuracy in one.accuracy_per_task.items():
            best[task] = max(accuracy, best.get(task, 0.0))
    falls = [best[task] - accuracy for task, accuracy in now.items() if task in best]
    return sum(falls) / len(falls) if falls else None


def _checks(answers: Answers, correct_N: NDArray[np.bool_], forebears: Forebears, limits: GateLimits) -> list[Check]:
    base, best, provisional = forebears.base, forebears.best, forebears.provisional
    checks = []
    if base is not None:
        checks.append(_known("base", answers, base, limits.base_fall, limits))
    if best is not None and (base is None or best.version != base.version):
        checks.append(_known("lineage", answers, best, limits.lineage_fall, limits))
    known = base.classes if base else frozenset()
    new_N = np.array([label not in known for label in answers.labels], dtype=bool)
    if set(answers.classes) - known:
        accuracy = base.accuracy if base else None
        checks.append(gate.new_classes(correct_N[new_N], base_accuracy=accuracy, class_count=len(answers.classes)))
    if provisional is not None:
        now_N, then_N = _shared(answers, correct_N, provisional)
        checks.append(gate.against_provisional(now_N, Judged(provisional.version, then_N), limits))
    return checks


def _known(name: str, answers: Answers, then: Forebear, most_fall: float, limits: GateLimits) -> Check:
    now_N, then_N = _shared(answers, answers.correct_N(then.classes), then)
    return gate.known_classes(name, now_N, Judged(then.version, then_N), most_fall=most_fall, limits=limits)


def _shared(answers: Answers, now_N: NDArray[np.bool_], then: Forebear) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Both versions on the images that both were judged on."""
    both = [n for n, digest in enumerate(answers.digests) if digest in then.correct]
    return now_N[both], np.array([then.correct[answers.digests[n]] for n in both], dtype=bool)
