"""Work done ahead: the same results in the same order, and nothing left running."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from model.pixels.ahead import LEAD, MOST_BESIDE, TOGETHER, ahead, threads_beside


def counted(limit: int, seen: list[int]) -> Iterator[int]:
    for number in range(limit):
        seen.append(number)
        yield number


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, TOGETHER, 101])
def test_results_come_in_the_order_of_the_items(threads: int, count: int) -> None:
    def slow_for_some(number: int) -> int:
        time.sleep(0.003 if number % 17 == 0 else 0)
        return number * number

    with closing(ahead(slow_for_some, range(count), threads)) as made:
        assert list(made) == [number * number for number in range(count)]


def test_threads_work_while_the_caller_is_elsewhere() -> None:
    ready = threading.Semaphore(0)

    def work(number: int) -> int:
        ready.release()
        return number

    with closing(ahead(work, range(4 * TOGETHER), 2)) as made:
        assert next(made) == 0
        for _ in range(4 * TOGETHER):
            assert ready.acquire(timeout=30)


def test_no_more_is_begun_than_the_lead() -> None:
    seen: list[int] = []
    with closing(ahead(lambda number: number, counted(1000, seen), 2)) as made:
        assert next(made) == 0
        assert len(seen) == 2 * LEAD * TOGETHER
    assert not [one for one in threading.enumerate() if one.name.startswith("ahead")]


def test_without_threads_nothing_is_begun_before_it_is_asked_for() -> None:
    seen: list[int] = []
    with closing(ahead(lambda number: number, counted(10, seen), 0)) as made:
        assert [next(made), next(made)] == [0, 1]
    assert seen == [0, 1]


def test_closing_waits_for_the_items_in_work_and_for_no_others() -> None:
    begun: list[int] = []
    go_on = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        assert number < TOGETHER or go_on.wait(timeout=30)
        return number

    made = ahead(work, range(1000), 1)
    assert next(made) == 0
    while len(begun) <= TOGETHER:
        time.sleep(0.001)
    threading.Timer(0.05, go_on.set).start()
    made.close()
    assert len(begun) == TOGETHER + 1


@pytest.mark.parametrize("threads", [0, 2])
def test_what_goes_wrong_is_raised_at_its_items_turn_and_ends_the_threads(threads: int) -> None:
    def work(number: int) -> int:
        if number == 2 * TOGETHER + 5:
            raise ValueError("item 21")
        return number

    made = []
    with pytest.raises(ValueError, match="item 21"), closing(ahead(work, range(500), threads)) as results:
        for one in results:
            made.append(one)
    assert made == list(range(2 * TOGETHER + 5))
    assert not [one for one in threading.enumerate() if one.name.startswith("ahead")]


def test_a_cpu_has_no_threads_to_spare() -> None:
    assert (threads_beside("cpu", 8), threads_beside("cuda", 16), threads_beside("cuda:1", 3)) == (0, MOST_BESIDE, 3)
