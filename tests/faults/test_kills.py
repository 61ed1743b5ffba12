"""Whoever is killed in the middle of a learn: nothing that was accepted is lost, and the outcome is the same."""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from stream.blobs import FolderBlobs
from stream.ledger import Ledger
from stream.manifest import load_manifest
from tests.digits import labelled, pngs
from tests.http.server import LEARNER, WORKER, RunningServer
from tests.service.learner.world import World
from tests.service.pictures import files

SLOW = {"learn.epochs": 6, "learn.min_steps": 120, "learn.threads": 1, "serve.threads": 1, "gate.enabled": False}
"""Enough steps that there is time to kill in the middle."""
IMAGES = labelled(6, 7, count=20)
LEARN_S = 120.0
RESTARTED = r"the (learner|service) ended .* it starts again in"


def send(server: RunningServer) -> str:
    """One task of two new classes; its id."""
    form = {"labels": [label for _, label in IMAGES]}
    reply = server.client.post("/learn", files=files(*[data for data, _ in IMAGES]), data=form)
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


def task(server: RunningServer, task_id: str) -> dict[str, Any]:
    """The task as the server tells it."""
    body: dict[str, Any] = server.client.get(f"/tasks/{task_id}").json()
    return body


def until_training(server: RunningServer, task_id: str) -> None:
    """Wait until the slow learner has finished an epoch."""
    server.wait_for(lambda: len(task(server, task_id)["epochs"]) >= 2, LEARN_S, "no second epoch")


def until_done(server: RunningServer, task_id: str) -> dict[str, Any]:
    """Wait until the task is finished; what became of it."""
    server.wait_for(lambda: task(server, task_id)["finished_at"], LEARN_S, "the task does not end")
    return task(server, task_id)


def digests_of(folder: Path, numbers: list[int]) -> list[Mapping[str, str]]:
    """The digest of every part of these versions."""
    ledger = Ledger.open(f"sqlite:///{folder / 'everclass.db'}")
    try:
        manifests = [load_manifest(FolderBlobs(folder / "blobs"), ledger.version(n).digest) for n in numbers]
    finally:
        ledger.close()
    return [{role: part.sha256 for role, part in manifest.parts.items()} for manifest in manifests]


@pytest.fixture(scope="module")
def undisturbed(taught: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Mapping[str, str]]:
    """What the task comes to where nobody is killed."""
    folder = taught.copied(tmp_path_factory.mktemp("undisturbed") / "data")
    with RunningServer(folder, learner=True, settings=SLOW) as server:
        done = until_done(server, send(server))
        assert (done["state"], done["attempts"]) == ("done", 1)
    return digests_of(folder, done["versions"])


def test_after_kill_9_of_the_learner_the_task_goes_on_and_comes_to_the_same_bytes(
    folder: Path, undisturbed: list[Mapping[str, str]]
) -> None:
    with RunningServer(folder, learner=True, settings=SLOW, noise=(RESTARTED,)) as server:
        task_id = send(server)
        until_training(server, task_id)
        psutil.Process(server.pid_of(LEARNER)).kill()
        done = until_done(server, task_id)
        assert (done["state"], done["attempts"], len(done["versions"])) == ("done", 2, 2)
        answer = server.client.post("/predict", files=files(pngs(6)[0])).json()
        assert answer["version"] == done["versions"][-1]
    assert digests_of(folder, done["versions"]) == undisturbed


def test_after_kill_9_of_everything_the_next_start_goes_on_and_comes_to_the_same_bytes(
    folder: Path, undisturbed: list[Mapping[str, str]]
) -> None:
    with RunningServer(folder, learner=True, settings=SLOW) as server:
        task_id = send(server)
        until_training(server, task_id)
        assert server.kill() == -signal.SIGKILL
        server.start()
        done = until_done(server, task_id)
        assert (done["state"], done["attempts"]) == ("done", 2)
    assert digests_of(folder, done["versions"]) == undisturbed


def test_a_stop_hands_the_task_back_and_counts_no_death(folder: Path, undisturbed: list[Mapping[str, str]]) -> None:
    with RunningServer(folder, learner=True, settings=SLOW) as server:
        task_id = send(server)
        until_training(server, task_id)
        assert server.stop() == 0
        server.start()
        assert task(server, task_id)["state"] in ("queued", "learning", "done")
        done = until_done(server, task_id)
        assert done["state"] == "done"
    assert digests_of(folder, done["versions"]) == undisturbed


def test_kill_9_of_the_service_does_not_disturb_the_learner(folder: Path) -> None:
    with RunningServer(folder, learner=True, settings=SLOW, noise=(RESTARTED,)) as server:
        task_id = send(server)
        until_training(server, task_id)
        learner = server.pid_of(LEARNER)
        psutil.Process(server.pid_of(WORKER)).kill()
        server.wait_for(lambda: _answers(server), 60, "the service does not come back")
        done = until_done(server, task_id)
        assert (done["state"], done["attempts"]) == ("done", 1)
        assert server.pid_of(LEARNER) == learner


def _answers(server: RunningServer) -> bool:
    try:
        return server.client.get("/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_a_cancel_while_learning_is_quick_puts_the_base_back_and_can_be_tried_again(folder: Path) -> None:
    with RunningServer(folder, learner=True, settings=SLOW) as server:
        task_id = send(server)
        until_training(server, task_id)
        provisional = task(server, task_id)["versions"][0]
        assert server.client.get("/aliases").json()["serving"] == provisional
        began_s = time.monotonic()
        assert server.client.delete(f"/tasks/{task_id}").json()["state"] == "cancelled"
        assert server.client.post("/predict", files=files(pngs(0)[0])).json()["version"] == 6
        server.wait_for(
            lambda: server.client.get("/readyz").json()["learner"]["task"] is None, 10, "the learner goes on"
        )
        assert time.monotonic() - began_s < 10
        assert server.client.get(f"/versions/{provisional}").json()["state"] == "held"
        assert server.client.post(f"/tasks/{task_id}/retry").status_code == 202
        done = until_done(server, task_id)
        assert (done["state"], done["base"]) == ("done", 6)
        assert server.client.get("/aliases").json()["serving"] == done["versions"][-1]


def test_a_second_learner_waits_for_the_lease_and_takes_over_when_the_first_is_killed(folder: Path) -> None:
    world = World.new(
        folder.parent / "unused", None, data_dir=folder, **{k.replace(".", "__"): v for k, v in SLOW.items()}
    )
    command = [sys.executable, "-m", "service.learner"]
    environment = {"PATH": "/usr/bin:/bin", **world.settings.to_environment()}
    with subprocess.Popen(command, env=environment) as first:
        owner = _until(lambda: _owner(world))
        with subprocess.Popen(command, env=environment) as second:
            sent = world.send(IMAGES)
            _until(lambda: len(world.ledger.task(sent.id).epochs) >= 2)
            assert (_owner(world), second.poll()) == (owner, None)
            first.kill()
            _until(lambda: world.ledger.task(sent.id).state == "done")
            assert _owner(world) not in (None, owner)
            assert world.ledger.task(sent.id).attempts == 2
            second.terminate()
            assert second.wait(30) == 0
    world.close()


def test_a_task_whose_learner_dies_three_times_is_failed_and_the_queue_goes_on(folder: Path) -> None:
    endless = SLOW | {"learn.min_steps": 5000}
    with RunningServer(folder, learner=True, settings=endless, noise=(RESTARTED,)) as server:
        poison, good = send(server), None
        for death in range(1, 4):
            server.wait_for(lambda wanted=death: _trains(task(server, poison), wanted), LEARN_S, "it is not taken up")
            psutil.Process(server.pid_of(LEARNER)).kill()
            if good is None:
                reply = server.client.post("/learn", files=files(*pngs(8)[:8]), data={"labels": ["8"] * 8})
                good = str(reply.json()["id"])
        failed = until_done(server, poison)
        assert failed["state"] == "failed"
        assert "training" in failed["reason"]
        assert until_done(server, good)["state"] == "done"


def _trains(poison: dict[str, Any], attempt: int) -> bool:
    return poison["attempts"] >= attempt and poison["phase"] == "training"


def _owner(world: World) -> str | None:
    view = world.ledger.lease("learner")
    return view.owner if view is not None and view.alive else None


def _until(condition: Any, timeout_s: float = LEARN_S) -> Any:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError("it does not happen")
