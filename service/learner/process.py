"""The learner process: waits for the lease, claims task after task, and leaves nothing undone that it cannot resume."""

import gc
import logging
import math
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from model.allocation import hand_back_freed_memory, keep_freed_memory
from model.cores import cores
from model.training.threads import limited_threads
from service.learner.bases import new_root
from service.learner.device import DeviceLost, loses_device
from service.learner.failures import ASKED_FOR, reason_of
from service.learner.forgetting import ForgetRun
from service.learner.graphs import graph_of
from service.learner.heartbeat import LEASE_TTL_S, Heartbeat
from service.learner.story import TaskRun
from service.learner.workshop import Interrupted, Workshop
from service.orphans import die_with_parent
from service.settings import Settings
from service.stores import open_blobs, open_ledger
from stream.errors import LeaseLost, StorageFull, StreamError, TaskStopped, Unavailable
from stream.failpoints import reach
from stream.ledger import Lease, Ledger
from stream.retention import sweep
from stream.tasks import Task

T = TypeVar("T")

LEASE = "learner"
IDLE_WAIT_S = 0.2
LEASE_WAIT_S = 0.5
UNAVAILABLE_WAIT_S = 5.0
"""How long a task rests, its checkpoint kept, while the blobs or the database do not answer."""
NICENESS = 4
"""Serving goes first where both share the cores; beside a service that never rests the learner keeps a quarter."""

log = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Learn until SIGTERM or SIGINT; 0 after a clean stop, 1 where only a new process can go on.

    Raises as `service.stores.open_ledger` and `open_blobs`.
    """
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    die_with_parent(settings.supervisor)
    let_serving_go_first()
    keep_freed_memory()
    ledger = open_ledger(settings)
    try:
        LearnerProcess(settings, ledger, stop).run()
    except DeviceLost:
        log.exception("the learner ends: only a new process can use the device again")
        return 1
    finally:
        ledger.close()
    return 0


def let_serving_go_first(share: Path = Path("/proc/self/autogroup")) -> None:
    """The learner steps back by `NICENESS`, also where the kernel hands out cores by session (decision 0027).

    There (autogroups, sched(7)) the niceness of a process counts only beside others of its session, and a learner that
    a supervisor started has one of its own. That of whoever started it by hand is left alone.
    """
    os.nice(NICENESS)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):
            share.write_text(str(NICENESS))


class LearnerProcess:
    """One learner; of several that run, the one that holds the lease works and the others wait."""

    def __init__(self, settings: Settings, ledger: Ledger, stop: threading.Event) -> None:
        self._settings = settings
        self._ledger = ledger
        self._stop = stop
        self._blobs = open_blobs(settings)
        self._owner = uuid.uuid4().hex
        self._next_sweep = 0.0
        self._tell_of_waiting_at: float | None = None

    def run(self) -> None:
        """Take the lease and work under it, again whenever it was lost, until told to stop.

        Raises:
            DeviceLost: the process has to end; the task under way goes on with the next one, as after a kill.
        """
        with limited_threads(self._settings.learn.threads or cores()):
            self._run()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                lease = self._acquire()
                if lease is None:
                    self._tell_of_waiting()
                    self._stop.wait(LEASE_WAIT_S)
                else:
                    self._tell_of_waiting_at = None
                    self._work(lease)
            except LeaseLost:
                log.warning("another learner has taken the lease")
            except (StorageFull, Unavailable) as error:
                log.warning("the learner waits: %s", error)
                self._stop.wait(UNAVAILABLE_WAIT_S)

    def _tell_of_waiting(self) -> None:
        """Once for each wait, and only of one that is longer than the lease of a learner that died."""
        now = time.monotonic()
        if self._tell_of_waiting_at is None:
            self._tell_of_waiting_at = now + LEASE_TTL_S
        if now > self._tell_of_waiting_at:
            log.warning("another learner holds the lease: this one waits until that one ends")
            self._tell_of_waiting_at = math.inf

    def _acquire(self) -> Lease | None:
        return self._ledger.acquire_lease(
            LEASE, self._owner, socket.gethostname(), LEASE_TTL_S, one_machine=self._blobs.one_machine
        )

    def _work(self, lease: Lease) -> None:
        with Heartbeat(self._ledger, lease) as heartbeat:
            workshop = Workshop(self._settings, self._ledger, self._blobs, heartbeat, self._stop)
            _get_ready(workshop)
            while not self._stop.is_set() and not heartbeat.lost.is_set():
                task = self._insist(heartbeat, lambda: self._ledger.claim(lease))
                if task is not None:
                    self._learn(workshop, task)
                self._sweep_when_due(lease)
                if task is None:
                    self._stop.wait(IDLE_WAIT_S)
        if not heartbeat.lost.is_set():
            self._insist(heartbeat, lambda: self._ledger.release_lease(lease))

    def _learn(self, workshop: Workshop, task: Task) -> None:
        heartbeat = workshop.heartbeat
        reach("task.claimed")
        try:
            heartbeat.say(task=task.id)
            (ForgetRun if task.kind == "forget" else TaskRun)(workshop, task).run()
        except Interrupted:
            self._hand_back(heartbeat, task)
        except TaskStopped as stopped:
            log.info("task %s is %s", task.id, stopped.state)
        except LeaseLost:
            raise
        except Unavailable as error:
            log.warning("task %s waits: %s", task.id, error)
            self._hand_back(heartbeat, task)
            self._stop.wait(UNAVAILABLE_WAIT_S)
        except Exception as error:
            if loses_device(error):
                raise DeviceLost(f"task {task.id}: {error}") from error
            if isinstance(error, ASKED_FOR):
                log.warning("task %s failed: %s", task.id, error)
            else:
                log.exception("task %s failed", task.id)
            self._fail(heartbeat, task, error)
        finally:
            if not heartbeat.lost.is_set():
                self._insist(heartbeat, lambda: heartbeat.say(task=None, candidate=None))
            gc.collect()
            hand_back_freed_memory()

    def _hand_back(self, heartbeat: Heartbeat, task: Task) -> None:
        try:
            self._insist(heartbeat, lambda: self._ledger.hand_back(heartbeat.lease, task.id))
        except TaskStopped:
            log.info("task %s was stopped before it could be handed back", task.id)

    def _fail(self, heartbeat: Heartbeat, task: Task, error: Exception) -> None:
        try:
            self._insist(heartbeat, lambda: self._ledger.fail(heartbeat.lease, task.id, reason_of(error)))
        except TaskStopped:
            log.info("task %s was stopped before it could fail", task.id)

    def _insist(self, heartbeat: Heartbeat, write: Callable[[], T]) -> T | None:
        """Try until the ledger takes it; a process that gave up here would count as a death of its task.

        None where the learner is told to stop, or loses its lease, meanwhile.
        """
        while True:
            try:
                return write()
            except (StorageFull, Unavailable) as error:
                log.warning("the learner waits: %s", error)
            if self._stop.wait(UNAVAILABLE_WAIT_S) or heartbeat.lost.is_set():
                return None

    def _check(self) -> None:
        """Between two blobs of a sweep. Raises Interrupted where the process is asked to stop."""
        if self._stop.is_set():
            raise Interrupted

    def _sweep_when_due(self, lease: Lease) -> None:
        if time.monotonic() < self._next_sweep:
            return
        kept = self._settings.retention
        self._next_sweep = time.monotonic() + kept.sweep_minutes * 60
        try:
            sweep(self._ledger, self._blobs, lease, kept.policy(), check=self._check)
        except LeaseLost:
            raise
        except Interrupted:
            return
        except (StreamError, OSError) as error:
            log.warning("the sweep was put off: %s", error)
        except Exception:
            # A learner that ended here would end again at its next sweep, and nothing would be learned.
            log.exception("the sweep was put off")


def _get_ready(workshop: Workshop) -> None:
    """Fetch the weights and export the graph that a first task needs, before it comes."""
    if workshop.ledger.serving() is not None:
        return
    try:
        graph_of(workshop, new_root(workshop.settings).spec)
    except LeaseLost:
        raise
    except (StreamError, ValueError, OSError) as error:
        log.warning("a first task would fail: %s", error)
    except Exception:
        # An exporter may raise anything. A learner that ended here would end again, and no task be told the reason.
        log.exception("a first task would fail")
