"""A task's progress as server-sent events (WHATWG HTML, 9.2), until it is finished or the server stops."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from service.schemas import TaskBody
from stream.tasks import Task

POLL_S = 0.25
KEEP_ALIVE_S = 15.0
SHARE = 0.2
"""Of the time, what looking at followed tasks takes at most."""


class Followed:
    """All tasks that are followed, looked at one after the other: however many follow, whatever their tasks weigh.

    A task of ten thousand long labels takes as long to read as a prediction.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def events(self, read: Callable[[], Task], stopping: Callable[[], bool]) -> AsyncIterator[str]:
        """An event `task` at each change, the last with the task finished; a comment where nothing changes for long.

        `read` is called in a thread and may wait for the database.
        """
        said: int | None = None
        silent_since = time.monotonic()
        while True:
            task, now = await self._look(read)
            if hash(now) != said:
                yield event("task", now)
                said, silent_since = hash(now), time.monotonic()
            elif time.monotonic() - silent_since >= KEEP_ALIVE_S:
                yield ": still here\n\n"
                silent_since = time.monotonic()
            if task.state.finished or stopping():
                return
            await asyncio.sleep(POLL_S)

    async def _look(self, read: Callable[[], Task]) -> tuple[Task, str]:
        """The task, and what is said of it. The next look waits, so that all of them take their share and no more."""
        async with self._turn:
            started = time.monotonic()
            found = await asyncio.to_thread(_look, read)
            await asyncio.sleep((time.monotonic() - started) * (1 / SHARE - 1))
            return found


def _look(read: Callable[[], Task]) -> tuple[Task, str]:
    task = read()
    return task, TaskBody.of(task).model_dump_json()


def event(name: str, data: str) -> str:
    """One event; `data` must be one line of JSON."""
    return f"event: {name}\ndata: {data}\n\n"
