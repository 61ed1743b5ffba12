"""What clients write down for themselves: what was acknowledged, what was answered, what was refused."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

Scores = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Answer:
    """One prediction: sent and received in seconds since the epoch, by which version, under which promotion.

    `floor` is the newest promotion that had been acknowledged to anyone before it was sent.
    """

    sent_s: float
    received_s: float
    version: int
    seq: int
    picture: int
    floor: int


@dataclass
class Record:
    """The clients' own record; every method may be called from any thread.

    `outages` counts requests that got no answer, or 503 while the server was starting or stopping; `wrong` is
    everything that no client should ever see.
    """

    accepted: list[str] = field(default_factory=list)
    promoted: list[dict[str, Any]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    scores: dict[tuple[int, int], Counter[Scores]] = field(default_factory=dict)
    outages: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _floor: int = 0

    @property
    def floor(self) -> int:
        """The newest promotion that was acknowledged."""
        return self._floor

    def accept(self, task: str) -> None:
        """A task got its 202."""
        with self._lock:
            self.accepted.append(task)

    def promote(self, promotion: dict[str, Any]) -> None:
        """A rollback was answered."""
        with self._lock:
            self.promoted.append({key: promotion[key] for key in ("seq", "version", "previous")})
            self._floor = max(self._floor, promotion["seq"])

    def answer(self, answer: Answer, scores: Scores) -> None:
        """A prediction was answered."""
        with self._lock:
            self.answers.append(answer)
            self.scores.setdefault((answer.version, answer.picture), Counter())[scores] += 1

    def outage(self, kind: str) -> None:
        """Nobody was there to answer."""
        with self._lock:
            self.outages[kind] += 1

    def complain(self, what: str) -> None:
        """Something that no client should see."""
        with self._lock:
            self.wrong.append(what)
