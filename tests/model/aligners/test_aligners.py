"""Where stage 2 begins, and when it is left out."""

from dataclasses import replace

import numpy as np
import pytest

from model.aligners import ClosedFormAligner, GaussianAligner, RandomProjectionAligner
from model.heads.alignment import AlignmentPlan, align
from model.heads.closed_form import RowScale, linear_discriminant
from model.heads.head import Head
from model.method import Aligner, AlignmentTask
from model.methods import method_named
from model.statistics.class_statistics import ClassStatistics

D = 8


@pytest.fixture
def task() -> AlignmentTask:
    rng = np.random.default_rng(0)
    columns_N = np.repeat(np.arange(4), 20)
    features_ND = (rng.standard_normal((80, D)) + 3 * rng.standard_normal((4, D))[columns_N]).astype(np.float32)
    statistics = ClassStatistics.from_features(features_ND, columns_N, 4)
    unaligned = Head(rng.standard_normal((4, D)) * 0.1, np.zeros(4))
    blocks_C = np.array([1, 1, 2, 2])
    return AlignmentTask(unaligned, statistics, blocks_C, 2, features_ND[40:], columns_N[40:], {}, 5)


def test_the_papers_alignment_begins_from_the_un_aligned_head(task: AlignmentTask) -> None:
    head = GaussianAligner().align(task).head
    plain = align(task.unaligned, task.statistics, task.blocks_C, 2, AlignmentPlan(), seed=5)
    np.testing.assert_array_equal(head.weight_CD, plain.weight_CD)


def test_a_warm_start_is_the_linear_discriminant_at_the_length_of_the_un_aligned_rows(task: AlignmentTask) -> None:
    standing = GaussianAligner(AlignmentPlan(epochs=0, largest_first_step=None), start="discriminant")
    head, discriminant = standing.align(task).head, linear_discriminant(task.statistics)
    assert RowScale.of(head).mean_length == pytest.approx(RowScale.of(task.unaligned).mean_length, rel=1e-5)
    factor = head.weight_CD[0, 0] / discriminant.weight_CD[0, 0]
    np.testing.assert_allclose(head.weight_CD, factor * discriminant.weight_CD, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(head.bias_C, factor * discriminant.bias_C, rtol=1e-4, atol=1e-6)


def test_a_warm_start_knows_the_first_task_too(task: AlignmentTask) -> None:
    first = replace(task, blocks_C=np.ones(4, np.int64), block=1)
    assert first.is_first
    warm, cold = method_named("slca+warm").aligner, method_named("slca").aligner
    assert warm is not None and warm.on_first_task and cold is not None and not cold.on_first_task
    answers = warm.align(first).head.logits(task.features_ND).argmax(axis=1)
    assert (answers == task.columns_N).mean() > 0.9


@pytest.mark.parametrize("kind", ["lda", "ridge", "nearest_mean"])
def test_closed_form_heads_need_no_un_aligned_head(task: AlignmentTask, kind: str) -> None:
    aligner = ClosedFormAligner(kind)
    other = replace(task, unaligned=Head(np.zeros((4, D)), np.zeros(4)))
    np.testing.assert_array_equal(aligner.align(task).head.weight_CD, aligner.align(other).head.weight_CD)
    assert aligner.is_in_head and aligner.on_first_task


@pytest.mark.parametrize(
    "aligner",
    (GaussianAligner(), ClosedFormAligner("lda"), ClosedFormAligner("ridge"), RandomProjectionAligner(size=16)),
    ids=repr,
)
def test_whoever_checks_may_stop_what_takes_long(task: AlignmentTask, aligner: Aligner) -> None:
    asked: list[None] = []

    def check() -> None:
        asked.append(None)
        raise TimeoutError

    with pytest.raises(TimeoutError):
        aligner.align(replace(task, check=check))
    assert len(asked) == 1
