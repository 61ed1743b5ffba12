"""A task's progress as server-sent events (WHATWG HTML, 9.2), until it is finished or the server stops."""

import asyncio
from collections.abc import AsyncIterator, Callable

from service.schemas import TaskBody
from stream.tasks import Task

POLL_S = 0.25
KEEP_ALIVE_S = 15.0


async def task_events(read: Callable[[], Task], stopping: Callable[[], bool]) -> AsyncIterator[str]:
    """An event `task` at each change, the last one with the task finished; a comment where nothing changes for long.

    `read` is called in a thread and may wait for the database.
    """
    said = ""
    silent_s = 0.0
    while True:
        task = await asyncio.to_thread(read)
        now = TaskBody.of(task).model_dump_json()
        if now != said:
            yield event("task", now)
            said, silent_s = now, 0.0
        elif silent_s >= KEEP_ALIVE_S:
            yield ": still here\n\n"
            silent_s = 0.0
        if task.state.finished or stopping():
            return
        await asyncio.sleep(POLL_S)
        silent_s += POLL_S


def event(name: str, data: str) -> str:
    """One event; `data` must be one line of JSON."""
    return f"event: {name}\ndata: {data}\n\n"
