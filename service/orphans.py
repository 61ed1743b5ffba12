"""No process of ours outlives the one that started it, whatever that one dies of."""

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1
"""The prctl option that asks Linux for a signal at the parent's death."""

WATCH_EVERY_S = 1.0


def die_with_parent(parent: int | None = None) -> None:
    """End this process, as by kill -9, once the parent process with this id is gone; at once if it is gone already.

    None: nobody looks after this process, and it lives on. On Linux the kernel sees to it; everywhere a thread also
    watches whether the process got another parent.
    """
    if parent is None:
        return
    ask_kernel()
    if os.getppid() != parent:
        _end()
    threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def ask_kernel() -> None:
    """Have Linux kill this process when the thread that started it ends; holds across exec."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_EVERY_S)
    _end()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
