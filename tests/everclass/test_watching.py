import json
from typing import Any

import pytest

from everclass import Client, NotTheContract, Patience, TaskCancelled, TaskFailed, WaitedTooLong
from everclass.results import Task
from tests.everclass.scripted import DROP, Reply, ScriptedServer, scripted

STREAM = {"Content-Type": "text/event-stream"}


def task(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "t1", "state": state, **more}


def events(*tasks: dict[str, Any]) -> Reply:
    text = "".join(f"event: task\nid: 1\ndata: {json.dumps(one)}\n\n: a comment\n\n" for one in tasks)
    return Reply(200, text, STREAM)


def waited(server: ScriptedServer, **wait: Any) -> tuple[Task, list[str]]:
    seen: list[str] = []
    with Client(server.url, patience=Patience(retries=1, first_pause_s=0.01)) as client:
        done = client.wait_for_task(
            "t1", poll_s=0.01, on_progress=lambda now: seen.append(now.phase or now.state), **wait
        )
    return done, seen


def test_progress_comes_by_events() -> None:
    told = events(task("learning", phase="features"), task("learning", phase="training"), task("done", versions=[1, 2]))
    with scripted(Reply(200, task("queued")), Reply(200, task("queued")), told) as server:
        done, seen = waited(server)
    assert done.versions == (1, 2)
    assert seen == ["queued", "features", "training", "done"]
    assert [asked.path for asked in server.asked] == ["/tasks/t1", "/tasks/t1", "/tasks/t1/events"]


def test_a_stream_that_breaks_off_is_taken_up_again() -> None:
    replies = [
        Reply(200, task("queued")),
        Reply(200, task("queued")),
        events(task("learning", phase="features")),
        Reply(200, DROP),
        Reply(200, task("learning", phase="features")),
        events(task("done")),
    ]
    with scripted(*replies) as server:
        assert waited(server)[1] == ["queued", "features", "done"]


@pytest.mark.parametrize("no_stream", [[Reply(404)], [Reply(200, task("learning"))], [Reply(200, DROP)] * 2])
def test_without_events_one_asks_again(no_stream: list[Reply]) -> None:
    with scripted(*[Reply(200, task("queued"))] * 2, *no_stream, Reply(200, task("done"))) as server:
        assert waited(server)[0].state == "done"


@pytest.mark.parametrize(("state", "kind"), [("failed", TaskFailed), ("cancelled", TaskCancelled)])
def test_a_task_that_ends_otherwise_is_an_error_with_the_task(state: str, kind: type[TaskFailed]) -> None:
    with scripted(Reply(200, task(state, reason="no room"))) as server, pytest.raises(kind, match="no room") as caught:
        waited(server)
    assert caught.value.task.state == state


def test_waiting_ends_but_the_task_goes_on() -> None:
    replies = [Reply(200, task("learning")), Reply(200, task("learning")), events(task("learning", progress=0.5))]
    with scripted(*replies) as server, pytest.raises(WaitedTooLong) as caught:
        waited(server, timeout_s=0)
    assert caught.value.task.state == "learning"


def test_a_task_that_is_none_is_recognised() -> None:
    with scripted(Reply(200, {"state": "asleep"})) as server, pytest.raises(NotTheContract, match="no Task"):
        waited(server)
