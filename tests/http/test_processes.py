"""The server's processes: they stop together, die together, and come back."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from service.learner.process import NICENESS
from service.settings import load_settings
from tests import digits
from tests.http.server import LEARNER, WORKER, RunningServer, free_port
from tests.service.pictures import files

DIGIT = digits.pngs(0)[0]
RESPAWN_S = 20.0


def test_a_stop_answers_what_is_under_way_and_turns_away_what_is_new(folder: Path) -> None:
    with RunningServer(folder, settings={"serve.threads": 1}) as server:
        server.wait_until_ready()
        answers: list[int] = []
        refused: list[int] = []
        stopping = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=server.url, timeout=60) as client:
                while True:
                    try:
                        status = client.post("/predict", files=files(*[DIGIT] * 8)).status_code
                    except httpx.TransportError:
                        assert stopping.is_set()
                        return
                    (answers if status == 200 else refused).append(status)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        server.wait_for(lambda: len(answers) > 20, 30, "no predictions")
        stopping.set()
        worker = psutil.Process(server.pid_of(WORKER))
        assert server.stop() == 0
        for thread in threads:
            thread.join()
        assert not worker.is_running()
        assert set(refused) <= {503}


def test_the_learner_steps_back_beside_the_service_whatever_the_kernel_hands_cores_out_by(folder: Path) -> None:
    with RunningServer(folder, learner=True) as server:
        server.wait_until_ready()
        worker, learner = server.pid_of(WORKER), server.pid_of(LEARNER)
        server.wait_for(lambda: psutil.Process(learner).nice() == NICENESS, 20, "the learner does not step back")
        assert psutil.Process(worker).nice() == 0
        groups = [Path(f"/proc/{pid}/autogroup") for pid in (worker, learner)]
        if groups[0].exists():
            names, niceness = zip(*(group.read_text().rsplit(" nice ") for group in groups), strict=True)
            assert names[0] != names[1] and [int(one) for one in niceness] == [0, NICENESS]


def test_the_supervisor_has_loaded_nothing_of_the_model_or_the_database(folder: Path) -> None:
    with RunningServer(folder) as server:
        server.wait_until_ready()
        assert server.process is not None
        loaded = {Path(one.path).parts for one in psutil.Process(server.process.pid).memory_maps()}
        packages = {part for parts in loaded for part in parts}
        assert "pydantic_core" in packages and not packages & {"numpy", "torch", "sqlalchemy"}


def test_readiness_says_that_the_server_is_stopping_while_a_request_is_under_way(folder: Path) -> None:
    with RunningServer(folder) as server:
        server.wait_until_ready()
        with socket.create_connection(("127.0.0.1", server.port)) as slow:
            head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            slow.sendall(f"{head}Content-Length: {len(DIGIT)}\r\nConnection: close\r\n\r\n".encode() + DIGIT[:10])
            time.sleep(0.3)
            psutil.Process(server.pid_of(WORKER)).send_signal(signal.SIGTERM)
            draining = server.wait_for(lambda: _not_ready(server), 5, "readiness does not change")
            assert draining["draining"] is True
            assert server.client.post("/predict", files=files(DIGIT)).status_code == 503
            slow.sendall(DIGIT[10:])
            assert slow.makefile("rb").readline().startswith(b"HTTP/1.1 200")


def _not_ready(server: RunningServer) -> dict[str, object] | None:
    reply = server.client.get("/readyz")
    return reply.json() if reply.status_code == 503 else None


def test_after_kill_9_of_the_supervisor_nothing_is_left_and_the_next_start_serves_again(folder: Path) -> None:
    with RunningServer(folder, learner=True) as server:
        server.wait_until_ready()
        assert len(server.processes()) >= 4
        assert server.kill() == -signal.SIGKILL
        server.start()
        server.wait_until_ready()
        assert server.client.post("/predict", files=files(DIGIT)).json()["version"] == 6


def test_after_kill_9_of_the_worker_another_one_answers(folder: Path) -> None:
    with RunningServer(folder, noise=("the service ended .its worker died.; it starts again in",)) as server:
        server.wait_until_ready()
        first = server.pid_of(WORKER)
        psutil.Process(first).kill()
        server.wait_for(lambda: _answers(server), RESPAWN_S, "no other worker")
        assert server.pid_of(WORKER) != first


def test_after_kill_9_of_the_service_the_supervisor_starts_it_again(folder: Path) -> None:
    with RunningServer(folder, noise=("the service ended .signal SIGKILL.; it starts again in",)) as server:
        server.wait_until_ready()
        worker = psutil.Process(server.pid_of(WORKER))
        parent = worker.parent()
        assert parent is not None
        parent.kill()
        psutil.wait_procs([worker], timeout=10)
        assert not worker.is_running()
        server.wait_for(lambda: _answers(server), RESPAWN_S, "the service is not started again")


def _answers(server: RunningServer) -> bool:
    try:
        return server.client.post("/predict", files=files(DIGIT), timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--host", "0.0.0.0"], "host: without keys the server binds to loopback only"),
        (["--set", "keys.admin_file=key"], "keys.admin_file: "),
        (["--set", "learn.epochs=0"], "learn.epochs"),
    ],
)
def test_a_server_that_may_not_be_started_says_why(tmp_path: Path, flags: list[str], words: str) -> None:
    command = [sys.executable, "-m", "everclass.main", "serve", "--no-learner", "--data-dir", str(tmp_path), *flags]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    assert words in run.stderr
    assert "Traceback" not in run.stderr


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "everclass.main", "serve", "--data-dir", str(tmp_path), "--port", str(port)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (run.returncode != 0, f"port: {port} cannot be used" in run.stderr) == (True, True)


def test_bentoml_serve_alone_reads_the_same_settings_and_keeps_to_loopback(folder: Path, tmp_path: Path) -> None:
    port = free_port()
    settings = load_settings({"data_dir": folder, "port": port}).settings
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **settings.to_environment()}
    command = [sys.executable, "-m", "bentoml", "serve", "service.bento:Everclass"]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                assert until(lambda: client.get("/readyz").status_code == 200)
                assert client.post("/predict", files=files(DIGIT)).json()["version"] == 6
            listening = {
                connection.laddr.ip
                for member in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                for connection in member.net_connections("tcp")
                if connection.status == psutil.CONN_LISTEN
            }
            assert listening == {"127.0.0.1"}
        finally:
            process.terminate()


def until(condition: Callable[[], bool], timeout_s: float = 60) -> bool:
    """Whether the condition comes true in time; no answer counts as false."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            if condition():
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    return False
