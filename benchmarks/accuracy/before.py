"""The closed-form heads on the base's backbone, which serve until the slow learner is done, judged task by task."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from everclass.bench.course import Course
from everclass.bench.prepared import Prepared
from everclass.bench.scoring import Scores, TestFeatures
from model.backbones.backbone import build
from model.backbones.features import features_of
from model.continual import Tuned
from model.first_stage import network_of
from model.judging.evaluation import AccuracyMatrix
from model.learning import Making, provisional
from model.methods import METHODS
from model.snapshot import Snapshot

LEARNER = METHODS["sl"]

BEFORE: Mapping[str, str] = {
    "discriminant before tuning": "sl",
    "discriminant before tuning, carried": "sl+lda+drift",
}
"""The method whose version a task is learned on, by head."""


class BeforeTuning:
    """Looks on while a chain learns a course; what a task found is what the next one is learned on."""

    def __init__(self, prepared: Prepared, course: Course) -> None:
        self._training, self._course = prepared.training, course
        spec = prepared.training.spec
        root = Snapshot.root(spec, prepared.weights, build(spec).feature_dim, BEFORE["discriminant before tuning"])
        self._bases: Mapping[str, Snapshot] = dict.fromkeys(BEFORE.values(), root)
        self._seen: Sequence[NDArray[np.float32]] = []
        self._scores = {title: Scores() for title in BEFORE}

    def judge(self, number: int, tuned: Tuned, snapshots: Mapping[str, Snapshot], test: TestFeatures) -> None:
        """What `Listener.on_judged` gets: the versions on the backbone as this task found it."""
        lesson, plan = self._course.lessons[number], self._training.plan(self._course.seed, number)
        network = network_of(next(iter(self._bases.values())), LEARNER, self._training.device)
        new_ND = features_of(network, lesson.test, plan)
        then = TestFeatures([*self._seen, new_ND], test.labels, new_ND[:0])
        making = Making(LEARNER, plan.seed, self._training.device)
        for title, method in BEFORE.items():
            version = provisional(self._bases[method], tuned.features.before, tuned.block, making, task=lesson.name)
            self._scores[title].add(version, LEARNER, then, self._course.seed)
        self._bases, self._seen = snapshots, test.seen

    @property
    def matrices(self) -> dict[str, AccuracyMatrix]:
        """Accuracies by head."""
        return {title: scores.matrix() for title, scores in self._scores.items()}

    @property
    def rates(self) -> dict[str, float]:
        """Accuracy of each head over all test images seen so far."""
        return {title: matrix.last for title, matrix in self.matrices.items()}
