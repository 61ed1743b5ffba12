"""Tasks' progress as server-sent events (WHATWG HTML, 9.2), until they are finished or the server stops.

A task is looked at once for all who follow it, by turns, and the longer a look takes and the more tasks are followed,
the more rarely: one of ten thousand long labels takes as long to read as a prediction.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from service.schemas import TaskBody
from stream.tasks import Task

POLL_S = 0.25
NOTICE_S = 1.0
"""So soon a follower notices that the server stops or that his key is revoked."""

KEEP_ALIVE_S = 15.0
SHARE = 0.2
"""Of the time, what looking at all followed tasks takes at most."""


@dataclass(eq=False)
class _Watch:
    """One task that is followed: what is to be said of it now, and how often that has changed."""

    read: Callable[[], Task]
    followers: int = 0
    said: str = ""
    changes: int = 0
    finished: bool = False
    failure: Exception | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    looking: "asyncio.Task[None] | None" = None

    def tell(self, said: str, *, finished: bool) -> None:
        """What was seen; followers are woken if it is news."""
        if said != self.said:
            self.said, self.changes = said, self.changes + 1
        self.finished = finished
        self._wake()

    def fail(self, failure: Exception) -> None:
        """The task cannot be looked at."""
        self.failure = failure
        self._wake()

    def _wake(self) -> None:
        woken, self.changed = self.changed, asyncio.Event()
        woken.set()


class Followed:
    """All tasks that are followed. For one event loop."""

    def __init__(self) -> None:
        self._watches: dict[str, _Watch] = {}
        self._turn = asyncio.Lock()

    async def events(
        self, task_id: str, read: Callable[[], Task], admitted: Callable[[], bool], stopping: Callable[[], bool]
    ) -> AsyncIterator[str]:
        """An event `task` at each change, the last with the task finished; a comment where nothing changes for long.

        `read` is called in a thread and may wait for the database. Who is no longer `admitted` is told no more.
        """
        watch = self._joined(task_id, read)
        told, silent_since = 0, time.monotonic()
        try:
            while admitted():
                if watch.failure is not None:
                    raise watch.failure
                if watch.changes > told:
                    told, silent_since = watch.changes, time.monotonic()
                    yield event("task", watch.said)
                elif time.monotonic() - silent_since >= KEEP_ALIVE_S:
                    silent_since = time.monotonic()
                    yield ": still here\n\n"
                if (watch.finished and watch.changes == told) or stopping():
                    return
                if watch.changes == told and watch.failure is None:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(watch.changed.wait(), min(NOTICE_S, KEEP_ALIVE_S))
        finally:
            self._leave(task_id, watch)

    def _joined(self, task_id: str, read: Callable[[], Task]) -> _Watch:
        watch = self._watches.get(task_id)
        if watch is None or watch.failure is not None or watch.finished:
            watch = self._watches[task_id] = _Watch(read)
            watch.looking = asyncio.create_task(self._look(watch))
        watch.followers += 1
        return watch

    def _leave(self, task_id: str, watch: _Watch) -> None:
        watch.followers -= 1
        if watch.followers == 0:
            assert watch.looking is not None
            watch.looking.cancel()
            if self._watches.get(task_id) is watch:
                del self._watches[task_id]

    async def _look(self, watch: _Watch) -> None:
        """Look at the task again and again, with pauses that leave the time to others."""
        while not watch.finished:
            async with self._turn:
                started = time.monotonic()
                try:
                    task, said = await asyncio.to_thread(_seen, watch.read)
                except Exception as error:
                    watch.fail(error)
                    return
                took_s = time.monotonic() - started
            watch.tell(said, finished=task.state.finished)
            await asyncio.sleep(max(POLL_S, took_s * (len(self._watches) / SHARE - 1)))


def _seen(read: Callable[[], Task]) -> tuple[Task, str]:
    task = read()
    return task, TaskBody.of(task).model_dump_json()


def event(name: str, data: str) -> str:
    """One event; `data` must be one line of JSON."""
    return f"event: {name}\ndata: {data}\n\n"
