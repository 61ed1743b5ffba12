"""What a server takes over time, how fast each thing grows, and what growth is too much."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from statistics import median

import psutil

MB = 1 << 20
WARM_UP = 0.3
"""The first part of a soak, in which caches fill, is left out of every slope."""

MOST_POINTS = 300
"""A slope is taken over so many samples, spread evenly: its cost is their square."""


@dataclass(frozen=True)
class Limit:
    """How much may grow: `rate` units a minute for ever, and `slack` units once.

    A short run cannot tell slow growth from the coming and going of caches: the slack is what it may mistake.
    """

    rate: float
    slack: float

    def over(self, minutes: float) -> float:
        """The largest slope, in units a minute, that a run of so many minutes may show."""
        return self.rate + self.slack / minutes


LIMITS = {
    "rss_mb": Limit(0.2, 60.0),
    "handles": Limit(0.02, 8.0),
    "threads": Limit(0.02, 4.0),
    "blobs_mb": Limit(0.1, 20.0),
    "database_mb": Limit(0.5, 8.0),
    "others_mb": Limit(0.1, 4.0),
}
"""By what is measured. The database keeps tasks, versions and the logs for ever, and so grows with the work."""


@dataclass(frozen=True)
class Sample:
    """One look at a server: values by series, called `what` (disk) or `what/process`."""

    at_s: float
    values: dict[str, float]


@dataclass(frozen=True)
class Growth:
    """One series over the whole soak: first and last value after the warm-up, slopes in units a minute."""

    series: str
    first: float
    last: float
    slope: float
    control_slope: float
    limit: float

    @property
    def too_much(self) -> bool:
        """Whether it grows faster than the limit allows, beyond what the idle server does."""
        return self.slope - max(0.0, self.control_slope) > self.limit


def look(processes: Sequence[psutil.Process], folder: Path) -> Sample:
    """What the processes and the data folder take now."""
    values: dict[str, float] = {}
    for process in processes:
        try:
            with process.oneshot():
                name, taken = name_of(process.cmdline()), _taken(process)
        except psutil.Error:
            continue
        for what, value in taken.items():
            values[f"{what}/{name}"] = values.get(f"{what}/{name}", 0.0) + value
    return Sample(time.monotonic(), values | _disk(folder))


def name_of(command: Sequence[str]) -> str:
    """What a process is called here: the module that it runs, else its program."""
    for before, word in pairwise(command):
        if before == "-m":
            return word.rpartition(".")[2] if word != "everclass.main" else "supervisor"
    if any("multiprocessing" in word for word in command):
        return "multiprocessing"
    return Path(command[0]).name if command else "gone"


def growths(samples: Sequence[Sample], control: Sequence[Sample]) -> list[Growth]:
    """Every series that is there in most samples, against the same series of the control."""
    warm, idle = _warm(samples), _warm(control)
    minutes = (warm[-1].at_s - warm[0].at_s) / 60
    names = sorted({name for sample in warm for name in sample.values})
    found = []
    for name in names:
        points = _points(warm, name)
        if 2 * len(points) <= len(warm):
            continue
        limit = LIMITS[name.partition("/")[0]].over(minutes)
        found.append(Growth(name, points[0][1], points[-1][1], slope(points), slope(_points(idle, name)), limit))
    return found


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between all pairs of (seconds, value), a minute (Theil and Sen): one peak moves nothing.

    0 for fewer than two points.
    """
    some = points[:: max(1, len(points) // MOST_POINTS)]
    steps = [60 * (b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(some, 2) if b[0] > a[0]]
    return median(steps) if steps else 0.0


def _points(samples: Sequence[Sample], name: str) -> list[tuple[float, float]]:
    return [(sample.at_s, sample.values[name]) for sample in samples if name in sample.values]


def _warm(samples: Sequence[Sample]) -> Sequence[Sample]:
    start_s = samples[0].at_s + WARM_UP * (samples[-1].at_s - samples[0].at_s)
    return [sample for sample in samples if sample.at_s >= start_s]


def _taken(process: psutil.Process) -> dict[str, float]:
    return {
        "rss_mb": process.memory_info().rss / MB,
        "handles": process.num_fds(),
        "threads": process.num_threads(),
    }


def _disk(folder: Path) -> dict[str, float]:
    sizes = {"blobs_mb": 0.0, "database_mb": 0.0, "others_mb": 0.0}
    found = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    for path in found:
        try:
            size_mb = path.stat().st_size / MB
        except FileNotFoundError:
            continue
        top = path.relative_to(folder).parts[0]
        kind = "blobs_mb" if top == "blobs" else "database_mb" if ".db" in top else "others_mb"
        sizes[kind] += size_mb
    return sizes
