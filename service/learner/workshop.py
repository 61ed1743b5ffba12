"""What a task's run works with, and the two ways in which it may be told to stop."""

import threading
from dataclasses import dataclass
from pathlib import Path

from service.learner.heartbeat import Heartbeat
from service.settings import Settings
from stream.blobs import Blobs
from stream.errors import LeaseLost
from stream.ledger import Ledger


class Interrupted(Exception):
    """The process was asked to stop; the task goes on from its last checkpoint with the next one."""


@dataclass(frozen=True)
class Workshop:
    """The learner's tools: settings, ledger, blobs, its lease (through the heartbeat), and the stop event."""

    settings: Settings
    ledger: Ledger
    blobs: Blobs
    heartbeat: Heartbeat
    stop: threading.Event

    @property
    def cache(self) -> Path:
        """A folder for what can be made again: exported graphs, features, embedded weights."""
        return self.settings.cache

    def check(self) -> None:
        """Called between micro-batches and between steps of alignment.

        Raises:
            Interrupted: the process is stopping.
            LeaseLost: another learner took over.
        """
        if self.stop.is_set():
            raise Interrupted
        if self.heartbeat.lost.is_set():
            raise LeaseLost(self.heartbeat.lease.name)
