"""Kill -9 of learner, service worker or supervisor at random moments while clients learn, predict and roll back."""

import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import psutil

from tests.faults.campaign.clients import Clients
from tests.faults.campaign.proof import disproved, states
from tests.faults.campaign.record import Record
from tests.http.server import LEARNER, WORKER, RunningServer

Victim = Literal["learner", "worker", "supervisor"]
VICTIMS: tuple[Victim, ...] = ("learner", "worker", "supervisor")

SETTINGS = {
    "learn.epochs": 3,
    "learn.min_steps": 30,
    "learn.threads": 1,
    "serve.threads": 1,
    "serve.runtime": "onnxruntime",
    "gate.enabled": False,
}
PREDICTING = 3
BACK_S = 90.0
"""How long a server may take to answer again after a kill."""

DRAINED_S = 600.0
"""How long the queue may take to come to its end after the last kill."""

NOISE = (r"the (learner|service) ended .* it starts again in", r"another learner (holds|has taken) the lease")


@dataclass(frozen=True)
class KillFigures:
    """What a campaign came to: seconds, kills by victim, tasks by state, and what was disproved."""

    seconds: float
    killed: Counter[str]
    tasks: Counter[str]
    record: Record
    disproved: list[str]

    def to_json(self) -> dict[str, Any]:
        """The figures as they are written down."""
        return {
            "seconds": round(self.seconds, 1),
            "killed": dict(self.killed),
            "tasks_with_202": len(self.record.accepted),
            "tasks_by_state": dict(self.tasks),
            "rollbacks_acknowledged": len(self.record.promoted),
            "predictions_answered": len(self.record.answers),
            "versions_that_answered": len({answer.version for answer in self.record.answers}),
            "requests_without_answer": dict(self.record.outages),
            "disproved": self.disproved,
        }


def run(folder: Path, kills: int, seed: int, *, longest_pause_s: float = 4.0) -> KillFigures:
    """So many kills on a taught data folder; `seed` decides who dies and when."""
    chosen = random.Random(seed)
    record, killed = Record(), Counter[str]()
    began_s = time.monotonic()
    with RunningServer(folder, learner=True, settings=SETTINGS, noise=NOISE) as server:
        server.wait_until_ready()
        clients = Clients(server.port, record, seed)
        with clients.at_work(predicting=PREDICTING, learning=True, rolling_back=True):
            for number in range(kills):
                time.sleep(chosen.uniform(0.1, longest_pause_s))
                victim = chosen.choice(VICTIMS)
                _kill(server, victim)
                killed[victim] += 1
                server.wait_for(lambda: _answers(server), BACK_S, f"no answer after kill {number + 1} ({victim})")
        server.wait_for(lambda: _unfinished(server) == 0, DRAINED_S, "the queue does not come to its end")
    return KillFigures(time.monotonic() - began_s, killed, states(folder, record), record, disproved(folder, record))


def _kill(server: RunningServer, victim: Victim) -> None:
    if victim == "supervisor":
        server.kill()
        server.start()
        return
    psutil.Process(server.pid_of(LEARNER if victim == "learner" else WORKER)).kill()


def _answers(server: RunningServer) -> bool:
    try:
        return server.client.get("/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _unfinished(server: RunningServer) -> int:
    tasks = server.client.get("/tasks?limit=1000").json()["items"]
    return sum(task["finished_at"] is None for task in tasks)
