"""How many cores this process may use."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Where a container sees its own limits (cgroup v2: `cpu.max`; v1: `cpu/cpu.cfs_quota_us` and `…_period_us`)."""


def cores(cgroup: Path = CGROUP) -> int:
    """The cores that this process may use, at least one: by its affinity and, in a container, by its quota."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, period = _bandwidth(cgroup)
    return usable if quota <= 0 else max(1, min(usable, math.ceil(quota / period)))


def _bandwidth(cgroup: Path) -> tuple[int, int]:
    """Microseconds of processor time in a period of so many; a quota of 0 or less is none."""
    newer, older = cgroup / "cpu.max", cgroup / "cpu"
    try:
        if newer.is_file():
            quota, period = newer.read_text().split()
        else:
            quota, period = ((older / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return (0 if quota == "max" else int(quota)), int(period)
    except (OSError, ValueError):
        return 0, 1
