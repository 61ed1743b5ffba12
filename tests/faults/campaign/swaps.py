"""Rollbacks one after another under a crowd of predicting clients: no request fails, every answer is its version's."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.campaign.clients import Clients
from tests.faults.campaign.proof import disproved
from tests.faults.campaign.record import Record
from tests.http.server import RunningServer

TURNS = (2, 4, 6, 4)
SETTINGS = {"serve.threads": 1, "serve.runtime": "onnxruntime"}


@dataclass(frozen=True)
class SwapFigures:
    """What a campaign came to."""

    seconds: float
    clients: int
    record: Record
    disproved: list[str]

    def to_json(self) -> dict[str, Any]:
        """The figures as they are written down."""
        took = [answer.received_s - answer.sent_s for answer in self.record.answers]
        return {
            "seconds": round(self.seconds, 1),
            "clients": self.clients,
            "swaps": len(self.record.promoted),
            "requests": len(took),
            "failed_requests": sum(self.record.outages.values()) + len(self.record.wrong),
            "p50_ms": round(sorted(took)[len(took) // 2] * 1000, 1),
            "p99_ms": round(sorted(took)[len(took) * 99 // 100] * 1000, 1),
            "disproved": self.disproved,
        }


def run(folder: Path, swaps: int, requests: int, *, clients: int = 8, max_loaded: int = 2) -> SwapFigures:
    """At least so many swaps between three versions and so many requests; of the three, `max_loaded` stay loaded."""
    record = Record()
    settings = SETTINGS | {"serve.max_loaded": max_loaded}
    with RunningServer(folder, settings=settings) as server:
        server.wait_until_ready()
        began_s = time.monotonic()
        with Clients(server.port, record, seed=0).at_work(predicting=clients, learning=False, rolling_back=False):
            while len(record.promoted) < swaps or len(record.answers) < requests:
                version = TURNS[len(record.promoted) % len(TURNS)]
                reply = server.client.post("/rollback", json={"version": version})
                if reply.status_code != 200:
                    record.complain(f"rollback answered {reply.status_code}: {reply.text}")
                    break
                record.promote(reply.json())
                wanted = len(record.answers) + requests // swaps
                server.wait_for(lambda wanted=wanted: len(record.answers) >= wanted, 60, "no predictions")
        seconds = time.monotonic() - began_s
    lost = [f"{count} requests got no answer" for count in record.outages.values()]
    return SwapFigures(seconds, clients, record, lost + disproved(folder, record))
