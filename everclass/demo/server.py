"""The server of the demonstration: `everclass serve` as a process of its own, with a data folder of its own."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from everclass.client import Client
from everclass.errors import EverclassError, NoAnswer
from everclass.transport import IMPATIENT

START_S = 120.0
STOP_S = 60.0
LOG_LINES = 15


class NotStarted(EverclassError):
    """The server ended, or said nothing for START_S seconds; carries the end of its log."""


class DemoServer:
    """A running server; as a context manager it is stopped at the end, and a data folder made here goes with it."""

    def __init__(self, data_dir: Path | None, port: int | None, settings: dict[str, object]) -> None:
        self._own_folder = data_dir is None
        self.data_dir = data_dir or Path(tempfile.mkdtemp(prefix="everclass-demo-"))
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.log = self.data_dir / "server.log"
        port = port or _free_port()
        self.url = f"http://127.0.0.1:{port}"
        pairs = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        place = ["--host", "127.0.0.1", "--port", str(port), "--data-dir", str(self.data_dir)]
        self._command = [sys.executable, "-m", "everclass.main", "serve", *place, *pairs]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "DemoServer":
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self._stop(self._process)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._stop(self._process)
        if self._own_folder:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The process id of `everclass serve`. Raises NotStarted before there is one."""
        if self._process is None:
            raise NotStarted("the server has not been started")
        return self._process.pid

    def wait(self) -> None:
        """Return when the server ends by itself."""
        if self._process is not None:
            self._process.wait()

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_S
        with Client(self.url, patience=IMPATIENT) as client:
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    client.readiness()
                    return
                except NoAnswer:
                    time.sleep(0.1)
        raise NotStarted(f"the server did not start; its log ends with\n{self._log_end()}")

    def _log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
