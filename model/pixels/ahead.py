"""Work done ahead in threads: pictures are decoded and cut while the network computes on those before them.

Threads, and not a `DataLoader` with processes: pillow and NumPy let go of the interpreter where the time goes, decoded
pictures stay shared, and a learner that is killed leaves no children behind.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Event
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

TOGETHER = 8
"""Items that one thread takes at a time: handing over costs about as much as a small picture."""

LEAD = 4
"""How many handfuls a thread may be ahead."""


MOST_BESIDE = 8
"""Threads beside a network: more of them would only wait for the interpreter, and hold more pictures."""


def threads_beside(device: str, threads: int) -> int:
    """How many threads make pictures ready beside the network: none on a CPU, whose cores it already has."""
    return 0 if device == "cpu" else min(threads, MOST_BESIDE)


def ahead(work: Callable[[Item], Made], items: Iterable[Item], threads: int) -> Generator[Made, None, None]:
    """`work` of each item, in order; with threads up to 32 items a thread are begun before they are asked for.

    What `work` raises is raised where its item's turn comes. Once the iterator is closed no item is begun any more, and
    those that are in work have ended.
    """
    if not threads:
        yield from map(work, items)
        return
    closed = Event()
    waiting: deque[Future[tuple[list[Made], Exception | None]]] = deque()
    handfuls = _handfuls(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    try:
        while True:
            missing = LEAD * threads - len(waiting)
            waiting.extend(pool.submit(_all, work, handful, closed) for handful in islice(handfuls, missing))
            if not waiting:
                return
            made, failure = waiting.popleft().result()
            yield from made
            if failure is not None:
                raise failure
    finally:
        closed.set()
        pool.shutdown(cancel_futures=True)


def _handfuls(items: Iterable[Item]) -> Iterator[list[Item]]:
    waiting = iter(items)
    while handful := list(islice(waiting, TOGETHER)):
        yield handful


def _all(work: Callable[[Item], Made], handful: list[Item], closed: Event) -> tuple[list[Made], Exception | None]:
    """What was made until something went wrong, and that."""
    made: list[Made] = []
    try:
        for item in handful:
            if closed.is_set():
                break
            made.append(work(item))
    except Exception as error:
        return made, error
    return made, None
