"""The real server as a subprocess on a free port of the loopback, for tests that talk HTTP to it."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

START_S = 60.0
STOP_S = 60.0
POLL_S = 0.05
WORKER = "_bentoml_impl.worker.service"
LEARNER = "service.learner"


class RunningServer:
    """`everclass serve` with settings of its own; stopped, and its stderr looked at, when the block is left.

    `settings` are dotted names (`learn.epochs`), `environment` are further variables. `learner` False starts only the
    service. `noise` are patterns of lines that a test expects on stderr; every other line there fails it.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        learner: bool = False,
        settings: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        noise: tuple[str, ...] = (),
        port: int | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=60)
        self._learner = learner
        self._settings = {"data_dir": data_dir, "port": self.port, **(settings or {})}
        self._others = dict(environment or {})
        self._noise = noise
        self._logs = data_dir.parent / f"{data_dir.name}-logs"
        self._starts = 0
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.stop()
        self.client.close()
        if error is None:
            self.assert_quiet()

    def start(self) -> Self:
        """Start it, and wait until it is live."""
        self._starts += 1
        self._logs.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "everclass.main", "serve", *([] if self._learner else ["--no-learner"])]
        with self._log("stdout").open("wb") as out, self._log("stderr").open("wb") as err:
            self.process = subprocess.Popen(command, env=self._environment(), stdout=out, stderr=err)
        try:
            self.wait_for(self._is_live, START_S, "the server is not live")
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> int:
        """SIGTERM to the supervisor; its exit status. Nothing of it is left then."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """Kill -9 of the supervisor alone; returns once all that it started is gone too."""
        return self._end(signal.SIGKILL)

    def pid_of(self, module: str) -> int:
        """The process of the supervisor's family that runs this module (`WORKER`, `LEARNER`)."""
        self.wait_for(lambda: self._find(module), START_S, f"no process runs {module}")
        found = self._find(module)
        assert found is not None
        return found.pid

    def processes(self) -> list[psutil.Process]:
        """The supervisor and all that it started."""
        assert self.process is not None
        supervisor = psutil.Process(self.process.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def wait_until_ready(self, timeout_s: float = START_S) -> None:
        """Wait until a version is loaded and warm."""
        self.wait_for(lambda: self.client.get("/readyz").status_code == 200, timeout_s, "the server is not ready")

    def wait_for(self, condition: Callable[[], Any], timeout_s: float, otherwise: str) -> Any:
        """Wait until the condition holds and give its value; an AssertionError with the logs if it does not."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(POLL_S)
        raise AssertionError(f"{otherwise} after {timeout_s} s\n{self.output()}")

    def output(self) -> str:
        """All that the server said so far."""
        return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in sorted(self._logs.iterdir()))

    def stderr(self) -> str:
        """What it said on stderr, over all its starts."""
        return "".join(path.read_text() for path in sorted(self._logs.glob("*.stderr")))

    def assert_quiet(self) -> None:
        """Nothing on stderr but what the test expects, and no trace of an error anywhere."""
        unexpected = [
            line for line in self.stderr().splitlines() if not any(re.search(pattern, line) for pattern in self._noise)
        ]
        assert not unexpected, self.output()
        assert "Traceback" not in self.output() or "Traceback" in self._noise, self.output()

    def _end(self, number: int) -> int:
        assert self.process is not None
        family = self.processes() if self.process.poll() is None else []
        self.process.send_signal(number)
        status = self.process.wait(STOP_S)
        _, alive = psutil.wait_procs(family, timeout=STOP_S)
        assert not alive, f"still there: {alive}\n{self.output()}"
        self.process = None
        return status

    def _is_live(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output()
        try:
            return self.client.get("/livez", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def _find(self, module: str) -> psutil.Process | None:
        for process in self.processes():
            try:
                if module in process.cmdline():
                    return process
            except psutil.Error:
                continue
        return None

    def _log(self, stream: str) -> Path:
        return self._logs / f"{self._starts:02d}.{stream}"

    def _environment(self) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("EVERCLASS_")}
        return others | self._others | {variable(name): str(value) for name, value in self._settings.items()}


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return "EVERCLASS_" + name.upper().replace(".", "__")


def free_port() -> int:
    """A port of the loopback that nobody uses now, none of those that the system gives to whoever connects next."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
