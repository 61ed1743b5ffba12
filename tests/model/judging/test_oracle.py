"""Statistics that are not stale recover what stale ones lose."""

import numpy as np
import pytest

from model.aligners import GaussianAligner
from model.backbones.seen import Seen
from model.backbones.spec import BackboneSpec
from model.heads.alignment import AlignmentPlan
from model.heads.head import Head
from model.judging.oracle import oracle_classifier
from model.method import AlignmentTask, Method
from model.methods import method_named
from model.snapshot import Snapshot, SnapshotClass
from model.statistics.class_statistics import ClassStatistics
from model.tuners import FullTuner

RNG = np.random.default_rng(0)
COLUMNS_N = np.repeat(np.arange(6), 60)
OLD_ND = (RNG.standard_normal((6, 10))[COLUMNS_N] * 2 + RNG.standard_normal((360, 10))).astype(np.float32)
NOW_ND = OLD_ND @ np.linalg.qr(RNG.standard_normal((10, 10)))[0].astype(np.float32)


def version(*blocks: int) -> Snapshot:
    """Six classes whose statistics are of the old space."""
    head = Head(0.1 * np.random.default_rng(1).standard_normal((6, 10)), np.zeros(6))
    classes = tuple(SnapshotClass(f"c{column}", "task", block, 60) for column, block in enumerate(blocks))
    stale = ClassStatistics.from_features(OLD_ND, COLUMNS_N, 6)
    spec = BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3)
    return Snapshot(spec, "checked", {}, classes, head, head, stale)


def accuracy(logits_NC: np.ndarray) -> float:
    return float((logits_NC.argmax(axis=1) == COLUMNS_N).mean())


@pytest.mark.parametrize("name", ["slca", "sl+lda", "sl+ncm", "sl+quadratic"])
def test_fresh_statistics_know_what_moved(name: str) -> None:
    snapshot = version(1, 1, 1, 2, 2, 2)
    classifier = oracle_classifier(snapshot, method_named(name), Seen(NOW_ND), COLUMNS_N, seed=1)
    assert classifier is not None
    assert accuracy(classifier.logits(NOW_ND)) > 0.9
    assert accuracy(classifier.logits(OLD_ND)) < 0.6


def test_alignment_on_fresh_statistics_has_a_ridge_of_its_own() -> None:
    snapshot = version(1, 1, 1, 2, 2, 2)
    heads = [
        oracle_classifier(snapshot, Method(FullTuner(), GaussianAligner(plan)), Seen(NOW_ND), COLUMNS_N, seed=1)
        for plan in (AlignmentPlan(), AlignmentPlan(ridge=1.0), AlignmentPlan(mean_decay=False))
    ]
    first, ridged, plain = [head.weight_CD for head in heads if isinstance(head, Head)]
    np.testing.assert_array_equal(first, ridged)
    assert not np.array_equal(first, plain)


def test_that_ridge_is_a_hundred_thousandth() -> None:
    """On covariances computed anew (method.md 2.2)."""
    snapshot = version(1, 1, 1, 2, 2, 2)
    fresh = ClassStatistics.from_features(NOW_ND, COLUMNS_N, 6)
    task = AlignmentTask(snapshot.unaligned, fresh, snapshot.blocks_C, 2, NOW_ND, COLUMNS_N, {}, 1)
    expected, stored = (GaussianAligner(AlignmentPlan(ridge=ridge)).align(task).head for ridge in (1e-5, 1e-4))
    found = oracle_classifier(snapshot, method_named("slca"), Seen(NOW_ND), COLUMNS_N, seed=1)
    assert isinstance(found, Head)
    np.testing.assert_array_equal(found.weight_CD, expected.weight_CD)
    assert not np.array_equal(found.weight_CD, stored.weight_CD)


def test_second_views_are_for_methods_that_have_such() -> None:
    snapshot, second_ND = version(1, 1, 1, 2, 2, 2), NOW_ND[:, ::-1].copy()
    for name, differs in (("sl+ncm", False), ("sl+ncm+views", True)):
        heads = [
            oracle_classifier(snapshot, method_named(name), seen, COLUMNS_N, seed=1)
            for seen in (Seen(NOW_ND), Seen(NOW_ND, {"middle": second_ND}))
        ]
        plain, seen = [head.weight_CD for head in heads if isinstance(head, Head)]
        assert np.array_equal(plain, seen) != differs


def test_there_is_no_oracle_where_no_statistics_are_read() -> None:
    snapshot = version(1, 1, 1, 2, 2, 2)
    for name in ("sl", "bic", "ranpac"):
        assert oracle_classifier(snapshot, method_named(name), Seen(NOW_ND), COLUMNS_N, seed=1) is None


def test_the_first_task_stays_as_the_method_leaves_it() -> None:
    snapshot = version(1, 1, 1, 1, 1, 1)
    assert oracle_classifier(snapshot, method_named("slca"), Seen(NOW_ND), COLUMNS_N, seed=1) is snapshot.aligned
    assert oracle_classifier(snapshot, method_named("sl+lda"), Seen(NOW_ND), COLUMNS_N, seed=1) is not snapshot.aligned
