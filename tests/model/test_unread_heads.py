"""Stage 1 is skipped where nothing moves and nobody reads the head, and the answers stay as with it, to the byte."""

from dataclasses import replace

import numpy as np
import pytest

from model.aligners import GaussianAligner
from model.continual import Learned, Told, finished, tune_task
from model.method import Method
from model.methods import METHODS
from model.regularisers import Consolidation
from model.tuners import FrozenTuner, FullTuner
from tests.model import check_method
from tests.model.check_method import EACH, PLAN, Lineage
from tests.model.pictures import Pictures, made

TASKS = ([0, 1, 2], [3, 4], [1, 5])


def phases(lineage: Lineage, classes: list[int]) -> list[str]:
    found: list[str] = []
    lineage.learn(classes, told=Told(on_phase=found.append))
    return found


def train(lineage: Lineage, classes: list[int]) -> None:
    """The same task with a head trained that nobody reads."""
    number = len(lineage.seen)
    pictures, labels = made(classes, EACH, seed=number)
    images, plan = Pictures(pictures, np.zeros(len(labels), np.int64)), replace(PLAN, seed=PLAN.seed + number)
    reader = replace(lineage.method, aligner=None)
    tuned = tune_task(lineage.version, images, labels, reader, plan, root=lineage.root, told=Told())
    assert tuned.head is not None
    snapshot = finished(lineage.version, tuned, lineage.method, plan, task=f"task-{number}")
    lineage.last = Learned(snapshot, tuned.network)
    lineage.seen += classes


@pytest.mark.parametrize("name", ["ncm", "lda", "ranpac_frozen", "fsa+lda", "ranpac"])
def test_answers_are_those_of_training_all_the_same(name: str) -> None:
    skipping, training = (Lineage(check_method.tested(name)) for _ in range(2))
    for classes in TASKS:
        skipping.learn(classes)
        train(training, classes)
        left, right = skipping.version.to_parts(), training.version.to_parts()
        assert left["head"] == right["head"] and left["statistics"] == right["statistics"]
        assert left["backbone"] == right["backbone"] and skipping.version.kept.keys() == training.version.kept.keys()
        pictures = Pictures(made(TASKS[0], 3, seed=9)[0], np.zeros(9, np.int64))
        np.testing.assert_array_equal(skipping.logits(pictures), training.logits(pictures))


def test_only_what_nobody_reads_is_skipped() -> None:
    assert phases(Lineage(METHODS["lda"]), [0, 1]) == ["features", "alignment"]
    first_only = Lineage(METHODS["fsa+lda"])
    assert "training" in phases(first_only, [0, 1]) and "training" not in phases(first_only, [2, 3])
    for method in (
        Method(FrozenTuner()),
        Method(FrozenTuner(), GaussianAligner()),
        Method(FrozenTuner(), METHODS["lda"].aligner, regulariser=Consolidation()),
        Method(FullTuner(), METHODS["lda"].aligner),
    ):
        assert method.learns(1) and method.learns(2)
