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
from stream.errors import Unavailable
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
        return [event async for event in Followed().events("one", next_state, lambda: True, lambda: read >= stop_after)]

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


def test_who_is_let_in_no_more_is_told_no_more(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Revoked between two changes."""
    monkeypatch.setattr("service.events.POLL_S", 0.001)
    states = itertools.count(1)
    told: list[str] = []

    async def follow() -> None:
        def read() -> Task:
            return replace(task, progress=next(states) / 1e6)

        async for one in Followed().events("one", read, lambda: not told, lambda: False):
            told.append(one)

    asyncio.run(follow())
    assert len(told) == 1


def test_a_task_that_cannot_be_read_ends_the_stream_of_everyone_who_follows_it(task: Task) -> None:
    def read() -> Task:
        raise Unavailable("the database does not answer")

    async def followed() -> list[object]:
        them = Followed()

        async def follow() -> None:
            async for _ in them.events("one", read, lambda: True, lambda: False):
                pass

        return await asyncio.gather(follow(), follow(), return_exceptions=True)

    assert [type(error) for error in asyncio.run(followed())] == [Unavailable, Unavailable]


def test_a_task_that_is_tried_again_is_followed_anew(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody who followed it to its first end has not taken that yet."""
    monkeypatch.setattr("service.events.POLL_S", 0.001)
    states = [replace(task, state=TaskState.FAILED)]

    async def follow() -> list[str]:
        them = Followed()
        slow = them.events("one", lambda: states[-1], lambda: True, lambda: False)
        told = [await anext(slow)]
        states.append(replace(task, state=TaskState.DONE))
        told += [one async for one in them.events("one", lambda: states[-1], lambda: True, lambda: False)]
        await slow.aclose()
        return [json.loads(one.split("\n")[1].removeprefix("data: "))["state"] for one in told]

    assert asyncio.run(follow()) == ["failed", "done"]


def test_however_many_follow_looking_takes_no_more_than_its_share(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten tasks that take a while to read, each with three followers, and one that takes none: it is told at once."""
    monkeypatch.setattr("service.events.POLL_S", 0.001)
    looks: list[tuple[float, float]] = []
    over = False

    def slow() -> Task:
        began = time.monotonic()
        time.sleep(0.01)
        looks.append((began, time.monotonic()))
        return replace(task, state=TaskState.DONE) if over else task

    light = itertools.count(1)

    async def followed() -> int:
        nonlocal over
        them = Followed()

        async def follow(task_id: str) -> None:
            async for _ in them.events(task_id, slow, lambda: True, lambda: over):
                pass

        slow_ones = [asyncio.create_task(follow(f"{number % 10}")) for number in range(30)]
        events = them.events("light", lambda: replace(task, progress=next(light) / 1e6), lambda: True, lambda: False)
        told = [await anext(events) for _ in range(5)]
        while len(looks) < 40:
            await asyncio.sleep(0.01)
        over = True
        await asyncio.gather(*slow_ones)
        await events.aclose()
        return len(told)

    assert asyncio.run(followed()) == 5
    assert all(later[0] >= before[1] for before, later in itertools.pairwise(sorted(looks)))
    settled = sorted(looks)[10:]
    busy = sum(end - began for began, end in settled)
    assert busy / (settled[-1][1] - settled[0][0]) <= 2 * SHARE
