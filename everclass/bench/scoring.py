"""How one method answers for the test images after each task, gathered over a chain."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from model.continual import classifier_of
from model.judging.evaluation import AccuracyMatrix, accuracy_matrix
from model.method import Method
from model.scores.calibration import expected_calibration_error, softmax
from model.scores.confidence import HeldOut, calibrated
from model.scores.novelty import auroc
from model.snapshot import Snapshot

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TestFeatures:
    """Test images through the network of a task: each seen task's, with the label of each; and of classes to come."""

    seen: Sequence[Floats]
    labels: Sequence[Sequence[str]]
    unseen_ND: Floats

    __test__ = False

    def columns(self, snapshot: Snapshot) -> list[Ints]:
        """The column of each seen image's class, task by task."""
        column = {label: c for c, label in enumerate(snapshot.labels)}
        return [np.array([column[label] for label in labels], dtype=np.int64) for labels in self.labels]


@dataclass
class Scores:
    """What a chain found out about one method so far."""

    correct: list[list[int]] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    calibration_error: list[float | None] = field(default_factory=list)
    novelty_auroc: list[float | None] = field(default_factory=list)
    probe: list[float] = field(default_factory=list)
    oracle: list[float | None] = field(default_factory=list)

    def add(self, snapshot: Snapshot, method: Method, test: TestFeatures, seed: int) -> float:
        """Judge the snapshot after one more task; its accuracy over all test images seen so far."""
        classifier, truth = classifier_of(snapshot, method), test.columns(snapshot)
        logits = [classifier.logits(features_ND) for features_ND in test.seen]
        right = [
            int((scores_NC.argmax(axis=1) == true_N).sum()) for scores_NC, true_N in zip(logits, truth, strict=True)
        ]
        self.correct.append(right)
        self.images = [len(true_N) for true_N in truth]
        head_answers = classifier is snapshot.aligned
        self._judge_scores(snapshot, np.concatenate(logits), np.concatenate(truth), test, seed, head_answers)
        return sum(right) / sum(self.images)

    def _judge_scores(
        self,
        snapshot: Snapshot,
        logits_NC: Floats,
        truth_N: Ints,
        test: TestFeatures,
        seed: int,
        head_answers: bool,
    ) -> None:
        """Temperature and novelty rule as a server without held-out images fits them: on sampled features.

        Of features of several passes, as those of sub-spaces, the rule reads the first, which the statistics are of.
        """
        dimension = snapshot.statistics.dimension
        nothing = HeldOut(np.zeros((0, dimension), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_))
        fitted, _ = calibrated(snapshot, nothing, seed=seed)
        probabilities_NC = softmax(logits_NC / fitted.temperature)
        error = expected_calibration_error(probabilities_NC, truth_N) if head_answers else None
        self.calibration_error.append(error)
        if fitted.novelty is None or not len(test.unseen_ND):
            self.novelty_auroc.append(None)
            return
        known_N = fitted.novelty.scores(np.concatenate(test.seen))
        self.novelty_auroc.append(auroc(known_N, fitted.novelty.scores(test.unseen_ND)))

    def matrix(self) -> AccuracyMatrix:
        """Accuracies by task."""
        rates = [[right / images for right, images in zip(row, self.images, strict=False)] for row in self.correct]
        return accuracy_matrix(rates, self.images)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**vars(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `to_json` wrote."""
        return cls(**value)
