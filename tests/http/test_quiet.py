"""The server calls nobody, and its service is light."""

import os
from pathlib import Path

from tests import digits, tiny_weights
from tests.http.server import WORKER, RunningServer
from tests.http.test_swaps import learn
from tests.service.pictures import files

SPY = """
import sys

def hear(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        where = arguments[1] if event != "socket.getaddrinfo" else arguments[:2]
        with open({log!r}, "a") as file:
            file.write(f"{{event}} {{where!r}}\\n")

sys.addaudithook(hear)
"""


def test_a_start_a_learn_and_a_predict_dial_no_one(tmp_path: Path) -> None:
    spy, log = tmp_path / "spy", tmp_path / "calls"
    spy.mkdir()
    (spy / "sitecustomize.py").write_text(SPY.format(log=str(log)))
    paths = os.pathsep.join([str(spy), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    settings = {
        "backbone": "test_vit",
        "weights": tiny_weights.make("test_vit", tmp_path),
        "image_size": 32,
        "learn.epochs": 1,
        "learn.min_steps": 2,
        "learn.threads": 1,
    }
    server = RunningServer(tmp_path / "data", learner=True, settings=settings, environment={"PYTHONPATH": paths})
    with server:
        assert learn(server, 0, 1)["state"] == "done"
        assert server.client.post("/predict", files=files(digits.pngs(0)[0])).status_code == 200
    calls = log.read_text().splitlines()
    assert calls, "the spy heard not even the supervisor asking its own service"
    assert [call for call in calls if not _is_local(call)] == []


def _is_local(call: str) -> bool:
    return any(word in call for word in ("'127.0.0.1'", "'::1'", "'localhost'", "b'127.0.0.1'", " '/", " b'/"))


def test_the_service_answers_without_torch(folder: Path) -> None:
    with RunningServer(folder) as server:
        server.wait_until_ready()
        assert server.client.post("/predict", files=files(digits.pngs(0)[0])).status_code == 200
        assert server.client.get("/versions/6/export").status_code == 200
        maps = Path(f"/proc/{server.pid_of(WORKER)}/maps").read_text()
        assert "onnxruntime" in maps
        assert [name for name in ("libtorch", "sklearn", "torchvision") if name in maps] == []
