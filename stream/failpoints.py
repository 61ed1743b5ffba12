"""Named places at which a test kills the process or has it fail; unless a test asks for it they do nothing.

`EVERCLASS_FAILPOINTS=NAME[:N][=kill|term|error]`, several separated by commas: at the N-th time (the first by default)
that this process comes by, it is killed as by kill -9, asked to stop, or an I/O error is raised. Read when it starts.
"""

import errno
import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

VARIABLE = "EVERCLASS_FAILPOINTS"

Point = Literal[
    "file.written",
    "file.flushed",
    "file.renamed",
    "folder.unflushed",
    "folder.flushed",
    "commit.before",
    "commit.after",
    "lease.before",
    "lease.after",
    "lease.released",
    "intake.stored",
    "intake.accepted",
    "task.claimed",
    "phase.entered",
    "training.stepped",
    "checkpoint.stored",
    "checkpoint.named",
    "version.stored",
    "publish.before",
    "publish.after",
    "task.finished",
    "sweep.marked",
    "promotion.before",
    "promotion.after",
    "swap.before",
    "swap.after",
]
POINTS: tuple[Point, ...] = get_args(Point)

Action = Literal["kill", "term", "error"]

ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True)
class Order:
    """What to do at a point, and at the how-manieth time."""

    time: int
    action: Action


class Failpoints:
    """Orders by point, and how often each point was reached."""

    def __init__(self, orders: dict[Point, Order]) -> None:
        self._orders = orders
        self._lock = threading.Lock()
        self.reached: Counter[Point] = Counter()

    @classmethod
    def parse(cls, text: str) -> "Failpoints":
        """The orders in `text`. Raises ValueError where it names no point or no action."""
        return cls(dict(_order(one.strip()) for one in text.split(",") if one.strip()))

    def hit(self, point: Point) -> None:
        """The process is at `point`. Raises OSError where that is the order."""
        with self._lock:
            self.reached[point] += 1
            order = self._orders.get(point)
            due = order is not None and order.time == self.reached[point]
        if order is None or not due:
            return
        if order.action == "error":
            raise OSError(errno.EIO, f"failpoint {point}")
        os.kill(os.getpid(), signal.SIGKILL if order.action == "kill" else signal.SIGTERM)


def reach(point: Point) -> None:
    """The process is at `point`."""
    if _armed is not None:
        _armed.hit(point)


def arm(text: str) -> Failpoints:
    """Have this process obey the orders in `text` from now on."""
    global _armed
    _armed = Failpoints.parse(text)
    return _armed


def _order(text: str) -> tuple[Point, Order]:
    place, _, action = text.partition("=")
    name, _, time = place.partition(":")
    points = [point for point in POINTS if point == name]
    actions = [known for known in ACTIONS if known == (action or "kill")]
    if not points or not actions or not (time == "" or time.isdecimal()):
        raise ValueError(f"{VARIABLE}: {text!r} is not NAME[:N][=kill|term|error] with a name that there is")
    return points[0], Order(int(time or 1), actions[0])


_armed: Failpoints | None = None
if VARIABLE in os.environ:
    arm(os.environ[VARIABLE])
