"""Resident memory of a server's processes, by what they are."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

INTERVAL_S = 0.2
MB = 1024 * 1024


def resident_mb(supervisor: int) -> dict[str, float]:
    """Megabytes held by `service` and `learner`, each with its children, and by the `supervisor` itself."""
    parent = psutil.Process(supervisor)
    held = {"supervisor": parent.memory_info().rss / MB, "service": 0.0, "learner": 0.0}
    for child in parent.children():
        role = "learner" if "service.learner" in child.cmdline() else "service"
        held[role] += sum(_resident_mb(process) for process in (child, *child.children(recursive=True)))
    return held


def _resident_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / MB
    except psutil.NoSuchProcess:
        return 0.0


@contextmanager
def peak_mb(supervisor: int) -> Iterator[dict[str, float]]:
    """The most that each held at any time inside the block, filled in as it runs."""
    peak = resident_mb(supervisor)
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(INTERVAL_S):
            for role, held in resident_mb(supervisor).items():
                peak[role] = max(peak[role], held)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
