"""Threads that work for several askers in turn, so that one who brings much does not hold up one who brings little."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class _Job:
    future: Future[Any]
    work: Callable[[], Any]


class Turns:
    """A pool of threads; each asker's work is done in its order, askers take turns piece by piece."""

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Hashable, deque[_Job]] = OrderedDict()

    def submit(self, asker: Hashable, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """What the work comes to; cancelling it works until it has begun."""
        job = _Job(Future(), lambda: work(*args, **kwargs))
        with self._lock:
            self._waiting.setdefault(asker, deque()).append(job)
        self._pool.submit(self._next)
        return job.future

    def shutdown(self) -> None:
        """Do what is under way, cancel the rest, end the threads."""
        with self._lock:
            rest = [job for jobs in self._waiting.values() for job in jobs]
        for job in rest:
            job.future.cancel()
        self._pool.shutdown()

    def _next(self) -> None:
        job = self._take()
        if not job.future.set_running_or_notify_cancel():
            return
        try:
            job.future.set_result(job.work())
        except BaseException as error:
            job.future.set_exception(error)

    def _take(self) -> _Job:
        """There is one job for each call of this."""
        with self._lock:
            asker, jobs = next(iter(self._waiting.items()))
            job = jobs.popleft()
            if jobs:
                self._waiting.move_to_end(asker)
            else:
                del self._waiting[asker]
        return job
