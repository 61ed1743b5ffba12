"""Memory that this process has freed: kept for what comes next, or handed back to the system (glibc alone)."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Options of mallopt(3)."""

LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> None:
    """From now on what was freed is used again, until `hand_back_freed_memory`.

    By default glibc maps every piece of more than 32 MiB for itself and unmaps it when it is freed, so that the kernel
    clears its pages each time: a third to a half of what a convolutional network takes on a CPU (decision 0028).
    """
    if _is_glibc():
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST_INT)


def hand_back_freed_memory() -> None:
    """What is free now goes back to the system."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
