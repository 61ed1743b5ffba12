"""A process that took no part in what this one did: what it makes of stored bytes shows whether they are all.

One a session, so that torch is imported once.
"""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from threading import Thread
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def elsewhere(act: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What `act`, a function of a module, gives there."""
    return _process().submit(act, *args, **kwargs).result()


def end() -> None:
    """At the end of a session, whether anything was asked of the process or not."""
    if _process.cache_info().currsize:
        _process().shutdown()
        _process.cache_clear()


@cache
def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    torch.set_num_threads(1)
    Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    """It waits at a pipe that it holds open itself, and would not learn that its parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
