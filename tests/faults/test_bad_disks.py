"""The disk fails, is full or writes wrong bits: it is said, predictions go on, nothing is half there."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.digits import labelled, pngs
from tests.faults.disk.disk import Disk, Stage
from tests.http.server import RunningServer
from tests.service.pictures import files
from tests.taught import Taught

SETTINGS = {"learn.epochs": 100, "learn.min_steps": 1000, "learn.threads": 1, "serve.threads": 1, "gate.enabled": False}
FULL_S = 2.0
NAMED_BY_NOTHING = "is listed and half-written"
"""What is wrong with a blob, not with a version: it is written anew when something is to name it, or swept."""


@pytest.mark.parametrize("kind", ["eio", "enospc", "short"])
@pytest.mark.parametrize("scene", ["arrive", "publish"])
@pytest.mark.parametrize("time", [1, 2, 9, 33])
def test_a_write_that_fails_is_said_and_breaks_nothing(
    stage: Stage, disk: Disk, scene: str, kind: str, time: int
) -> None:
    status = stage.play(disk, scene, fail=f"{kind}:{time}:data/*")
    refused = disk.diary.all("refused")
    assert (status, refused) in [(-signal.SIGKILL, []), (1, ["Unavailable"]), (1, ["StorageFull"])]
    assert disk.broken() == []
    assert disk.broken_after_power_cut() == []


@pytest.fixture(scope="module")
def classroom(library: Path) -> Iterator[Stage]:
    with Stage.open(library, "tests.faults.disk.learning") as stage:
        yield stage


@pytest.mark.parametrize(
    ("fail", "state", "reason"),
    [
        ("flip:1:data/blobs/parts/*", "failed", "damaged"),
        ("flip:1:data/blobs/manifests/*", "failed", "damaged"),
        ("enospc:1:data/blobs/checkpoints/*", "failed", "no room left"),
        ("enospc:1:data/blobs/parts/*", "failed", "no room left"),
        ("eio:2:data/blobs/parts/*", "done", ""),
        ("short:1:data/blobs/parts/*", "done", ""),
    ],
)
def test_a_learner_on_a_bad_disk_fails_its_task_or_tries_again(
    classroom: Stage, disk: Disk, taught: Taught, fail: str, state: str, reason: str
) -> None:
    taught.copied(disk.data)
    assert classroom.play(disk, "learn", fail=fail) == 0
    (ended,) = disk.diary.all("ended")
    assert (ended["state"], reason in (ended["reason"] or "")) == (state, True), ended
    assert [line for line in disk.broken() if "flip" not in fail or NAMED_BY_NOTHING not in line] == []


def test_a_full_disk_refuses_what_is_sent_and_fails_what_is_learned_while_predictions_go_on(
    disk: Disk, taught: Taught
) -> None:
    taught.copied(disk.data)
    noise = (".*", "Traceback")
    with RunningServer(
        disk.data, learner=True, settings=SETTINGS, environment=disk.environment(), noise=noise
    ) as server:
        server.wait_until_ready()
        sent = _send(server, 6, 7)
        assert sent.status_code == 202
        path = f"/tasks/{sent.json()['id']}"
        server.wait_for(lambda: len(server.client.get(path).json()["epochs"]) >= 2, 120, "it does not train")
        disk.full.touch()
        end = time.monotonic() + FULL_S
        while time.monotonic() < end:
            assert server.client.post("/predict", files=files(pngs(0)[0])).status_code == 200
        assert _send(server, 8, 9).status_code == 507
        assert server.client.post("/rollback", json={"version": 2}).status_code == 507
        assert server.client.post("/predict", files=files(pngs(0)[0])).status_code == 200
        disk.full.unlink()
        server.wait_for(lambda: server.client.get(path).json()["finished_at"], 120, "it does not end")
        failed = server.client.get(path).json()
        assert (failed["state"], failed["attempts"]) == ("failed", 1)
        assert "no room left" in failed["reason"]
        assert _send(server, 8, 9).status_code == 202
        assert "the learner ended" not in server.stderr()
    assert disk.broken() == []


def _send(server: RunningServer, *labels: int) -> httpx.Response:
    images = labelled(*labels, count=10)
    form = {"labels": [label for _, label in images]}
    return server.client.post("/learn", files=files(*[data for data, _ in images]), data=form)
