"""`everclass serve`: the service and the learner as two children, started again when they die, stopped together."""

import http.client
import logging
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from service.address import address, check_address, numeric
from service.orphans import ask_kernel
from service.settings import Settings, child_environment

SERVICE = "service.bento:Everclass"
POLL_S = 0.1
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""Up for so long, a child's earlier deaths are forgotten."""

THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
"""How the children's libraries wait and thread, unless the environment says otherwise. Both share the cores: OpenMP
threads that spin at barriers cost the learner several times its work beside a busy service, and threads of OpenBLAS
cost more than the small products after a prediction.
"""

KILL_AFTER_S = 10.0
"""Beyond the time for draining, a child that does not stop is killed."""

log = logging.getLogger(__name__)


@dataclass
class Child:
    """A process that is to be up, and when it may be started again.

    `works_through_a_child`: what it does is done by a process that it starts. BentoML's main process looks every ten
    seconds whether that one lives; here it is looked at in every round.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    works_through_a_child: bool = False
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    started_at: float = 0.0
    due_at: float = field(default_factory=time.monotonic)
    _had_a_child: bool = False

    def look_after(self) -> None:
        """Start it if it is due; if it died, note that and set when to start it again."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.due_at:
                self._start(now)
        elif (code := self.process.poll()) is not None:
            self._bury(_in_words(code), now)
        elif self.works_through_a_child and self._lost_its_child(self.process.pid):
            # It may have been killed since the line above, and its child with it.
            cause = "its worker died" if (code := self.process.poll()) is None else _in_words(code)
            self.stop(signal.SIGKILL)
            self.process.wait()
            self._bury(cause, now)

    def stop(self, number: int) -> None:
        """Send a signal, if it is up: SIGKILL to all it started as well."""
        if self.process is None or self.process.poll() is not None:
            return
        if number == signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    @property
    def down(self) -> bool:
        """Whether no process of it is left."""
        return self.process is None or self.process.poll() is not None

    def _start(self, now: float) -> None:
        # ask_kernel runs between fork and exec; the thread that starts children must live as long as they do.
        self.process = subprocess.Popen(
            self.command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=ask_kernel,
        )
        self.started_at = now

    def _lost_its_child(self, pid: int) -> bool:
        """Whether it had a child and has none now."""
        try:
            living = [child for child in psutil.Process(pid).children() if child.status() != psutil.STATUS_ZOMBIE]
        except psutil.Error:
            return False
        lost = self._had_a_child and not living
        self._had_a_child = bool(living)
        return lost

    def _bury(self, cause: str, now: float) -> None:
        if now - self.started_at > STEADY_S:
            self.deaths = 0
        self.deaths += 1
        pause = min(FIRST_PAUSE_S * 2 ** (self.deaths - 1), LONGEST_PAUSE_S)
        log.warning("the %s ended (%s); it starts again in %.1f s", self.name, cause, pause)
        self.process, self.due_at, self._had_a_child = None, now + pause, False


class Supervisor:
    """Looks after its children until told to stop, then stops them in order."""

    def __init__(self, children: list[Child], settings: Settings) -> None:
        self.children = children
        self._settings = settings
        self._stopping = threading.Event()
        self._killing = threading.Event()

    def request_stop(self, *_: object) -> None:
        """The first time: let the children finish what they are at. The second time: end them now."""
        (self._killing if self._stopping.is_set() else self._stopping).set()

    def run(self) -> int:
        """Block until stopped; 0 after a clean stop, 1 if a child had to be killed."""
        announced = False
        while not self._stopping.wait(POLL_S):
            for child in self.children:
                child.look_after()
            announced = announced or self._announce()
        return self._stop_all()

    def _announce(self) -> bool:
        settings = self._settings
        if not is_live(settings.host, settings.port, tls=settings.tls.certfile is not None):
            return False
        print(f"Everclass listens on {address(self._settings)}", flush=True)
        return True

    def _stop_all(self) -> int:
        for child in self.children:
            child.stop(signal.SIGTERM)
        end = time.monotonic() + self._settings.serve.drain_s + KILL_AFTER_S
        while not all(child.down for child in self.children):
            if self._killing.wait(POLL_S) or time.monotonic() > end:
                return self._kill_all()
        return 0

    def _kill_all(self) -> int:
        for child in self.children:
            child.stop(signal.SIGKILL)
        for child in self.children:
            if child.process is not None:
                child.process.wait()
        return 1


def serve(settings: Settings, learner: bool) -> int:
    """Run the service, and the learner with it where `learner`, until SIGTERM or SIGINT.

    0 after a clean stop, 1 if something had to be killed. Raises WrongSettings where the address cannot be served on.
    Must be called from the main thread.
    """
    check_address(settings)
    own = settings.model_copy(update={"supervisor": os.getpid()})
    environment = THREADS | child_environment(own)
    children = [Child("service", service_command(settings), environment, works_through_a_child=True)]
    if learner:
        children.append(Child("learner", [sys.executable, "-m", "service.learner"], environment))
    supervisor = Supervisor(children, settings)
    with _signals(supervisor):
        return supervisor.run()


def service_command(settings: Settings) -> list[str]:
    """How the service process is started: `bentoml serve` on the package that this module is part of."""
    here = Path(__file__).resolve().parents[1]
    where = ["--host", numeric(settings.host), "--port", str(settings.port), "--working-dir", str(here)]
    return [sys.executable, "-m", "bentoml", "serve", SERVICE, *where]


def is_live(host: str, port: int, *, tls: bool = False) -> bool:
    """Whether the service answers there; whose certificate it has is not asked, since it is our own. Somebody else may
    have taken the port meanwhile and speak anything.
    """
    if tls:
        anyones = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anyones.check_hostname, anyones.verify_mode = False, ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            numeric(host), port, timeout=1, context=anyones
        )
    else:
        connection = http.client.HTTPConnection(numeric(host), port, timeout=1)
    try:
        connection.request("GET", "/livez", headers={"Host": "localhost"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _in_words(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


@contextmanager
def _signals(supervisor: Supervisor) -> Iterator[None]:
    before = {number: signal.signal(number, supervisor.request_stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
