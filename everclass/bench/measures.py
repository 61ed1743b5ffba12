"""What a run is judged by beside its own answers, from all training images seen so far.

No part of any method: old images are read for judging alone, after the task is learned and scored, and nothing of it
goes on to the next task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from everclass.bench.course import Course, Joined
from everclass.bench.scoring import TestFeatures
from model.backbones.backbone import PixelBackbone
from model.backbones.features import seen_by
from model.backbones.seen import OF_STATISTICS, Seen, Views
from model.judging.oracle import oracle_classifier
from model.judging.probe import linear_probe
from model.method import Classifier, Method
from model.snapshot import Snapshot
from model.training.tuning import TuningPlan

Ints = NDArray[np.int64]
Measure = Literal["probe", "oracle"]

MEASURES: Sequence[Measure] = get_args(Measure)


@dataclass(frozen=True, eq=False)
class Hindsight:
    """All training images of the tasks so far through the present network, and the test images to judge by.

    In the views that any method makes statistics of.
    """

    seen: Seen
    columns_N: Ints
    test: TestFeatures
    seed: int
    device: str

    @classmethod
    def after(
        cls,
        number: int,
        course: Course,
        network: PixelBackbone,
        snapshot: Snapshot,
        test: TestFeatures,
        plan: TuningPlan,
        views: Views = frozenset(),
    ) -> "Hindsight":
        """After task `number` (from 0) of the course; `snapshot` names the classes by column."""
        lessons = course.lessons[: number + 1]
        column = {label: c for c, label in enumerate(snapshot.labels)}
        labels = [label for lesson in lessons for label in course.labels(lesson.train)]
        columns_N = np.array([column[label] for label in labels], dtype=np.int64)
        images = Joined([lesson.train for lesson in lessons])
        seen = seen_by(network, images, plan, views & OF_STATISTICS)
        return cls(seen, columns_N, test, plan.seed, str(network.device))

    def probe(self, snapshot: Snapshot) -> float:
        """Accuracy of a linear classifier that learned all classes at once on this representation."""
        count = len(snapshot.classes)
        head = linear_probe(self.seen.features_ND, self.columns_N, count, seed=self.seed, device=self.device)
        return self._accuracy(head, snapshot)

    def oracle(self, snapshot: Snapshot, method: Method) -> float | None:
        """Accuracy of the method if its class statistics were of the present space; None where it answers by none."""
        classifier = oracle_classifier(snapshot, method, self.seen, self.columns_N, seed=self.seed, device=self.device)
        return None if classifier is None else self._accuracy(classifier, snapshot)

    def _accuracy(self, classifier: Classifier, snapshot: Snapshot) -> float:
        logits_NC = classifier.logits(np.concatenate(self.test.seen))
        return float((logits_NC.argmax(axis=1) == np.concatenate(self.test.columns(snapshot))).mean())
