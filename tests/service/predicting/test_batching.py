"""Batches are counted in images, hold one version, and keep the order of arrival."""

import threading
from collections import deque

import numpy as np
import pytest

from model.served import Prediction, Ranked
from service.metrics import Metrics
from service.predicting.batching import Batcher, Work, take
from service.predicting.loading import MOST_FAILURES, Failures

LONG_S = 20


class Model:
    """Answers with an image's first pixel; counts batches, and may be held up or broken."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.top_ks: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False

    def predict(self, pixels_BHWC: np.ndarray, top_k: int) -> list[Prediction]:
        self.gate.wait(LONG_S)
        self.batches.append(len(pixels_BHWC))
        self.top_ks.append(top_k)
        if self.broken:
            raise RuntimeError("broken")
        return [Prediction(str(value), 1.0, True, (Ranked(str(value), 1.0),)) for value in pixels_BHWC[:, 0, 0, 0]]


class Version:
    """A loaded version around such a model."""

    def __init__(self) -> None:
        self.model = Model()
        self.failures = Failures()


def pictures(*values: int) -> list[np.ndarray]:
    return [np.full((2, 2, 3), value, np.uint8) for value in values]


def test_requests_that_wait_are_run_together_and_each_gets_its_own_answers() -> None:
    version, batcher = Version(), Batcher(8, Metrics())
    version.model.gate.clear()
    first = batcher.submit(version, pictures(1), 1)
    others = [batcher.submit(version, pictures(value, value + 1), 3) for value in (10, 20, 30)]
    version.model.gate.set()
    assert [one.label for one in first.result(LONG_S)] == ["1"]
    answers = [[one.label for one in other.result(LONG_S)] for other in others]
    assert answers == [["10", "11"], ["20", "21"], ["30", "31"]]
    batcher.close()
    assert sum(version.model.batches) == 7
    assert len(version.model.batches) <= 3
    assert max(version.model.top_ks) == 3


def test_a_long_request_is_cut_into_batches() -> None:
    version, batcher = Version(), Batcher(4, Metrics())
    answers = batcher.submit(version, pictures(*range(10)), 1).result(LONG_S)
    batcher.close()
    assert [one.label for one in answers] == [str(value) for value in range(10)]
    assert version.model.batches == [4, 4, 2]


def test_versions_never_share_a_batch() -> None:
    one, other = Version(), Version()
    waiting = deque([work(one, 1), work(other, 2), work(one, 1)])
    shares = take(waiting, 8)
    assert [share.work.version for share in shares] == [one, one]
    assert [waits.version for waits in waiting] == [other]


def test_a_batch_takes_part_of_a_request_and_leaves_the_rest_at_its_place() -> None:
    version = Version()
    long, short = work(version, 5), work(version, 1)
    waiting = deque([long, short])
    assert [(share.start, share.stop) for share in take(waiting, 3)] == [(0, 3)]
    assert [(share.start, share.stop) for share in take(waiting, 3)] == [(3, 5), (0, 1)]
    assert not waiting


def test_a_broken_batch_is_answered_with_its_error_and_the_next_one_is_run() -> None:
    version, batcher = Version(), Batcher(2, Metrics())
    version.model.broken = True
    with pytest.raises(RuntimeError, match="broken"):
        batcher.submit(version, pictures(*range(5)), 1).result(LONG_S)
    version.model.broken = False
    assert batcher.submit(version, pictures(7), 1).result(LONG_S)[0].label == "7"
    batcher.close()


def test_failures_are_counted_in_a_row_for_each_version_alone() -> None:
    version, other, batcher = Version(), Version(), Batcher(2, Metrics())
    for broken, said in [*[(True, False)] * (MOST_FAILURES - 1), (False, False), *[(True, False)] * 2, (True, True)]:
        version.model.broken = broken
        batcher.submit(version, pictures(1), 1).exception(LONG_S)
        batcher.submit(other, pictures(1), 1).result(LONG_S)
        assert version.failures.too_many is said
    assert other.failures.in_a_row == 0
    batcher.close()


def test_what_waits_is_answered_before_the_batcher_ends() -> None:
    version, batcher = Version(), Batcher(1, Metrics())
    futures = [batcher.submit(version, pictures(value), 1) for value in range(5)]
    batcher.close()
    assert [future.result(0)[0].label for future in futures] == list("01234")


def work(version: Version, images: int) -> Work:
    return Work(version, pictures(*range(images)), 1)  # type: ignore[arg-type]
