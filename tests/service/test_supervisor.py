"""Children are started again when they die, more slowly each time, and stopped together."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from service.orphans import die_with_parent
from service.settings import Settings, WrongSettings, load_settings
from service.supervisor import FIRST_PAUSE_S, Child, Supervisor, is_live, serve, service_command
from tests.http.server import free_port

SLEEPER = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
POLITE = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(600)"
ORPHAN = (
    "import os, time; from service.orphans import die_with_parent; die_with_parent(os.getppid()); "
    "print(os.getpid(), flush=True); time.sleep(600)"
)
PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "


def child(code: str, **options: bool) -> Child:
    return Child("child", [sys.executable, "-c", code], dict(os.environ), **options)


def until(condition: Callable[[], object], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def settings(**flags: object) -> Settings:
    return load_settings({"port": free_port(), "serve.drain_s": 0.5, **flags}).settings


def test_a_child_that_is_killed_while_its_own_is_looked_for_is_not_said_to_have_lost_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = child(SLEEPER, works_through_a_child=True)
    one.look_after()
    process = one.process
    assert process is not None

    def killed_meanwhile(self: Child, pid: int) -> bool:
        process.kill()
        return until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)

    monkeypatch.setattr(Child, "_lost_its_child", killed_meanwhile)
    one.look_after()
    assert one.process is None and one.deaths == 1
    assert "the child ended (signal SIGKILL)" in caplog.text


def test_a_child_that_dies_is_started_again_later_each_time() -> None:
    one = child("raise SystemExit(3)")
    pauses = []
    for _ in range(3):
        one.due_at = time.monotonic()
        assert until(lambda: one.look_after() or (one.process is None and one.deaths > len(pauses)))
        pauses.append(one.due_at - time.monotonic())
    assert pauses == pytest.approx([FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S], abs=0.2)


def test_after_a_steady_time_earlier_deaths_are_forgotten() -> None:
    one = child(SLEEPER)
    one.deaths = 5
    one.look_after()
    assert one.process is not None
    one.started_at -= 3600
    one.process.kill()
    assert until(lambda: one.look_after() or one.process is None)
    assert one.deaths == 1


def test_a_child_that_lost_its_worker_is_started_again() -> None:
    one = child(PARENT + "time.sleep(600)", works_through_a_child=True)
    one.look_after()
    assert one.process is not None
    pid = one.process.pid
    assert until(lambda: psutil.Process(pid).children())
    one.look_after()
    assert one.process is not None
    [worker] = psutil.Process(pid).children()
    worker.kill()
    assert until(lambda: one.look_after() or one.process is None)
    assert not psutil.pid_exists(pid)


def test_children_are_stopped_together_and_none_is_left() -> None:
    children = [child(POLITE), child(SLEEPER)]
    supervisor = Supervisor(children, settings())
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    assert until(lambda: all(one.process for one in children))
    processes = [one.process for one in children]
    supervisor.request_stop()
    thread.join(20)
    assert not thread.is_alive()
    assert all(process is not None and process.poll() is not None for process in processes)


def test_a_child_that_does_not_stop_is_killed_when_asked_twice() -> None:
    one = child(STUBBORN)
    supervisor = Supervisor([one], settings())
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(supervisor.run()))
    thread.start()
    assert until(lambda: one.process is not None)
    time.sleep(0.5)
    supervisor.request_stop()
    time.sleep(0.5)
    assert one.process is not None
    assert one.process.poll() is None
    supervisor.request_stop()
    thread.join(20)
    assert (statuses, one.process.poll()) == ([1], -signal.SIGKILL)


def test_an_orphan_ends_with_its_parent() -> None:
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ORPHAN!r}])"
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        orphan = int(process.stdout.readline())
        process.kill()
        assert until(lambda: not psutil.pid_exists(orphan), 10)


def test_a_process_whose_parent_is_gone_already_ends_at_once() -> None:
    code = "from service.orphans import die_with_parent; die_with_parent(1 << 22); print('alive')"
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60)
    assert (run.returncode, run.stdout) == (-signal.SIGKILL, "")


def test_who_has_no_supervisor_lives_on() -> None:
    threads = threading.active_count()
    die_with_parent(None)
    assert threading.active_count() == threads


@pytest.mark.parametrize("flags", [{"host": "0.0.0.0"}, {"host": "example.org"}, {"keys.admin_file": "key"}])
def test_what_may_not_be_served_is_refused(flags: dict[str, object]) -> None:
    with pytest.raises(WrongSettings, match=r"host|keys"):
        serve(settings(**flags), learner=False)


def test_the_service_is_bentoml_on_this_very_package() -> None:
    command = service_command(settings(host="localhost", port=4000))
    assert command[1:5] == ["-m", "bentoml", "serve", "service.bento:Everclass"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert not is_live("127.0.0.1", free_port())


def test_who_speaks_something_else_at_the_port_is_not_our_service() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"\xff\x00 what?\r\n")

        with ThreadPoolExecutor(1) as speaking:
            speaking.submit(answer)
            assert not is_live("127.0.0.1", other.getsockname()[1])
