"""What a chain says of unknown images is what a server's rule does with them."""

from itertools import pairwise

import numpy as np
import pytest

from everclass.bench.scoring import Scores, TestFeatures
from model.backbones.spec import Pooling
from model.scores.confidence import HeldOut, calibrated
from model.scores.novelty import auroc
from model.snapshot import Snapshot
from tests.model import check_method
from tests.model.pictures import Pictures, made

METHOD = check_method.tested("slca+warm")
KNOWN, UNKNOWN = [3, 6, 4], [11, 13]


def learned(pooling: Pooling) -> tuple[Snapshot, TestFeatures]:
    """A version of three classes, and test images of these and of others through its network."""
    lineage = check_method.Lineage(METHOD, pooling=pooling)
    snapshot = lineage.learn(KNOWN)
    assert lineage.last is not None
    (known, labels), (unknown, others) = made(KNOWN, 8, seed=5), made(UNKNOWN, 8, seed=5)
    known_ND, unknown_ND = (
        check_method.features_of(lineage.last.network, Pictures(shown, np.zeros(len(names), np.int64)), lineage.plan)
        for shown, names in ((known, labels), (unknown, others))
    )
    return snapshot, TestFeatures([known_ND], [labels], unknown_ND)


def figure(snapshot: Snapshot, test: TestFeatures) -> float:
    scores = Scores()
    scores.add(snapshot, METHOD, test, seed=4)
    (found,) = scores.novelty_auroc
    assert found is not None
    return found


@pytest.mark.parametrize("pooling", ["pretrained", "token+avg"])
def test_unknown_images_are_told_apart_as_by_the_rule_that_is_served(pooling: Pooling) -> None:
    snapshot, test = learned(pooling)
    dimension = snapshot.statistics.dimension
    nothing = HeldOut(np.zeros((0, dimension), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    rule = calibrated(snapshot, nothing, seed=4)[0].novelty
    assert rule is not None and rule.dimension == 64
    assert figure(snapshot, test) == auroc(rule.scores(test.seen[0]), rule.scores(test.unseen_ND)) > 0.5


def test_the_mean_of_the_patches_has_no_say_in_it() -> None:
    snapshot, test = learned("token+avg")
    other_ND = np.concatenate([test.unseen_ND[:, :64], np.full((16, 64), 1e3, np.float32)], axis=1)
    assert figure(snapshot, test) == figure(snapshot, TestFeatures(test.seen, test.labels, other_ND))


def gap_by_hand(logits_NC: np.ndarray, truth_N: np.ndarray) -> float:
    """Expected calibration error over fifteen bins of confidence."""
    probability_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    probability_NC /= probability_NC.sum(axis=1, keepdims=True)
    confidence_N, correct_N = probability_NC.max(axis=1), probability_NC.argmax(axis=1) == truth_N
    edges = np.linspace(0, 1, 16)
    inside = [(confidence_N > low) & (confidence_N <= high) for low, high in pairwise(edges)]
    return float(sum(abs(confidence_N[one].sum() - correct_N[one].sum()) for one in inside) / len(truth_N))


def test_the_calibration_error_is_that_of_scores_at_the_temperature_that_is_served() -> None:
    snapshot, test = learned("pretrained")
    nothing = HeldOut(np.zeros((0, 64), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    temperature = calibrated(snapshot, nothing, seed=4)[0].temperature
    logits_NC = snapshot.aligned.logits(test.seen[0]).astype(np.float64)
    (truth_N,) = test.columns(snapshot)
    scores = Scores()
    scores.add(snapshot, METHOD, test, seed=4)
    (error,) = scores.calibration_error
    assert error == pytest.approx(gap_by_hand(logits_NC / temperature, truth_N), abs=1e-6)
    assert abs(gap_by_hand(logits_NC, truth_N) - gap_by_hand(logits_NC / temperature, truth_N)) > 0.01
