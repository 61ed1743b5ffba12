"""Tasks, predictions and rollbacks against one server, nothing against another, and a look at both now and then."""

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.campaign.clients import Clients
from tests.faults.campaign.proof import states
from tests.faults.campaign.record import Answer, Record, Scores
from tests.faults.invariants import broken, every, opened
from tests.faults.soak.growth import Growth, Sample, growths, look
from tests.http.server import RunningServer
from tests.taught import Taught

SETTINGS = {
    "learn.epochs": 2,
    "learn.min_steps": 10,
    "learn.threads": 1,
    "serve.threads": 1,
    "serve.runtime": "onnxruntime",
    "gate.enabled": False,
    "retention.keep": 5,
    "retention.sweep_minutes": 0.2,
    "retention.grace_hours": 0.01,
    "retention.task_days": 0.001,
}
"""Retention as it is in years, in minutes: it sweeps every 12 s what nothing has needed for 36 s.

Of images only those that a task named and let go of: what no task ever named stays for an hour, and here there is none.
"""

PREDICTING = 2
DRAINED_S = 300.0


@dataclass
class Tally(Record):
    """A record that counts predictions instead of keeping them: a soak may run for days."""

    predictions: Counter[int] = field(default_factory=Counter)

    def answer(self, answer: Answer, scores: Scores) -> None:
        """A prediction was answered."""
        with self._lock:
            self.predictions[answer.version] += 1


@dataclass(frozen=True)
class SoakFigures:
    """What a soak came to; `wrong` is what clients or the data folder showed to be broken."""

    minutes: float
    samples: int
    record: Tally
    tasks: Counter[str]
    deleted_versions: int
    growths: list[Growth]
    wrong: list[str]

    @property
    def grown(self) -> list[str]:
        """The series that grew too fast."""
        return [growth.series for growth in self.growths if growth.too_much]

    def to_json(self) -> dict[str, Any]:
        """The figures as they are written down."""
        return {
            "minutes": round(self.minutes, 1),
            "samples": self.samples,
            "tasks_by_state": dict(self.tasks),
            "rollbacks": len(self.record.promoted),
            "predictions": self.record.predictions.total(),
            "versions_that_answered": len(self.record.predictions),
            "versions_swept": self.deleted_versions,
            "requests_without_answer": dict(self.record.outages),
            "growth": [
                {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(one).items()}
                for one in self.growths
            ],
            "grown": self.grown,
            "wrong": self.wrong,
        }


def run(taught: Taught, place: Path, minutes: float, *, every_s: float = 5.0, seed: int = 1) -> SoakFigures:
    """Soak a copy of the taught folder for so long, beside another copy whose server is left alone."""
    folder, idle = taught.copied(place / "busy"), taught.copied(place / "idle")
    record = Tally()
    began_s = time.monotonic()
    with (
        RunningServer(folder, learner=True, settings=SETTINGS) as server,
        RunningServer(idle, learner=True, settings=SETTINGS) as control,
    ):
        server.wait_until_ready()
        control.wait_until_ready()
        clients = Clients(server.port, record, seed)
        with clients.at_work(predicting=PREDICTING, learning=True, rolling_back=True):
            samples = _watch([server, control], minutes, every_s)
        server.wait_for(lambda: _unfinished(server) == 0, DRAINED_S, "the queue does not come to its end")
    wrong = record.wrong + broken(folder, record.accepted, record.promoted)
    return SoakFigures(
        minutes=(time.monotonic() - began_s) / 60,
        samples=len(samples[0]),
        record=record,
        tasks=states(folder, record),
        deleted_versions=_deleted(folder),
        growths=growths(*samples),
        wrong=wrong,
    )


def _watch(servers: list[RunningServer], minutes: float, every_s: float) -> list[list[Sample]]:
    samples: list[list[Sample]] = [[] for _ in servers]
    end_s = time.monotonic() + minutes * 60
    while time.monotonic() < end_s or len(samples[0]) < 2:
        for found, server in zip(samples, servers, strict=True):
            found.append(look(server.processes(), server.data_dir))
        time.sleep(every_s)
    return samples


def _unfinished(server: RunningServer) -> int:
    tasks = server.client.get("/tasks?limit=1000").json()["items"]
    return sum(task["finished_at"] is None for task in tasks)


def _deleted(folder: Path) -> int:
    with opened(folder) as (ledger, _):
        return sum(version.state == "deleted" for version in every(ledger.versions))
