"""How one follows a task: its server-sent events while they come, asking again and again where they do not."""

import time
from collections.abc import Iterator

import httpx

from everclass.errors import EverclassError
from everclass.results import Task
from everclass.transport import Transport, result

SILENCE_S = 20.0
"""A stream without even a comment for this long counts as broken."""


class Deadline:
    """A point in time that may be infinitely far away."""

    def __init__(self, timeout_s: float | None) -> None:
        self._at = float("inf") if timeout_s is None else time.monotonic() + timeout_s

    @property
    def left_s(self) -> float:
        """Seconds to go, never below zero."""
        return max(0.0, self._at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.left_s == 0.0


def watch(transport: Transport, path: str, *, poll_s: float, timeout_s: float | None) -> Iterator[Task]:
    """The task at `path` each time it changes; ends after its last state, or when `timeout_s` seconds have gone by.

    A broken stream is opened again, by way of asking once (which tries as often as the transport's patience says).
    """
    deadline = Deadline(timeout_s)
    seen: Task | None = None
    while True:
        for task in _asked_and_told(transport, path, deadline):
            if task != seen:
                yield task
            seen = task
            if task.ended or deadline.passed:
                return
        time.sleep(min(poll_s, deadline.left_s))


def _asked_and_told(transport: Transport, path: str, deadline: Deadline) -> Iterator[Task]:
    """The task as it is now, then as its events tell for as long as they come."""
    yield result(Task, transport.call("GET", path))
    try:
        yield from _events(transport, f"{path}/events", min(SILENCE_S, deadline.left_s))
    except EverclassError:
        return


def _events(transport: Transport, path: str, silence_s: float) -> Iterator[Task]:
    with transport.stream(path, accept="text/event-stream", timeout_s=max(0.1, silence_s)) as response:
        if response.headers.get("Content-Type", "").startswith("text/event-stream"):
            yield from _tasks(response)


def _tasks(response: httpx.Response) -> Iterator[Task]:
    """The tasks in a stream of events. An event is the `data` lines up to an empty line; comments are passed over."""
    data: list[str] = []
    for line in response.iter_lines():
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            yield result(Task, "\n".join(data))
            data = []
