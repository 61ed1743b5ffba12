"""A task as server-sent events: at each change, and to the end."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from service.events import SHARE, Followed
from stream.tasks import Task, TaskState


def told(tasks: list[Task], *, stop_after: int = 1000) -> list[str]:
    """What is said while the task is read as these, one after the other."""
    states: Iterator[Task] = iter(tasks)
    read = 0

    def next_state() -> Task:
        nonlocal read
        read += 1
        return next(states, tasks[-1])

    async def collected() -> list[str]:
        return [event async for event in Followed().events(next_state, lambda: read >= stop_after)]

    return asyncio.run(collected())


@pytest.fixture
def task(client: TestClient) -> Task:
    """A task that is being learned."""
    ledger = client.app_state.assembly.ledger
    return replace(ledger.tasks().items[0], state=TaskState.LEARNING, progress=0.1)


def test_each_change_is_told_once_and_the_end_is_the_last(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.events.POLL_S", 0.001)
    done = replace(task, state=TaskState.DONE, progress=1.0)
    events = told([task, task, replace(task, progress=0.5), task, done])
    progress = [json.loads(event.split("\n")[1].removeprefix("data: "))["progress"] for event in events]
    assert progress == [0.1, 0.5, 0.1, 1.0]
    assert all(event.startswith("event: task\n") and event.endswith("\n\n") for event in events)


def test_a_long_silence_is_broken_by_a_comment(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.events.POLL_S", 0.001)
    monkeypatch.setattr("service.events.KEEP_ALIVE_S", 0.005)
    events = told([task], stop_after=20)
    assert events[0].startswith("event: task")
    assert set(events[1:]) == {": still here\n\n"}


def test_a_server_that_stops_ends_the_stream(task: Task) -> None:
    assert len(told([task], stop_after=1)) == 1


def test_however_many_follow_looking_takes_no_more_than_its_share(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty follow a task that takes a while to read: one is read at a time, with a pause after it."""
    monkeypatch.setattr("service.events.POLL_S", 0.001)
    looks: list[tuple[float, float]] = []

    def slow() -> Task:
        began = time.monotonic()
        time.sleep(0.01)
        looks.append((began, time.monotonic()))
        return task if len(looks) < 60 else replace(task, state=TaskState.DONE)

    async def followed() -> None:
        them = Followed()

        async def follow() -> None:
            async for _ in them.events(slow, lambda: False):
                pass

        await asyncio.gather(*(follow() for _ in range(20)))

    asyncio.run(followed())
    assert all(later[0] > before[1] for before, later in itertools.pairwise(looks))
    busy = sum(end - began for began, end in looks)
    assert busy / (looks[-1][1] - looks[0][0]) <= SHARE * 1.05
