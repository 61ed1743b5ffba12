"""The contract of tasks, versions and promotions in plain Python, written from the design and not from the ledger."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from stream.tasks import Phase, Promote, RequestedBase
from stream.versions import SERVING, VersionKind

SERVABLE = ("ready", "held")
UNFINISHED = ("open", "queued", "learning")
DEATHS = 3


class Refused(Exception):
    """The contract says no, and nothing changes."""


@dataclass
class PlainTask:
    """A task; `committed` is its place in the queue, `holder` the token of the learner that has it."""

    id: str
    requested: RequestedBase = None
    promote: Promote | None = None
    state: str = "open"
    committed: int = 0
    base: int | None = None
    claim_seq: int | None = None
    holder: int | None = None
    attempts: int = 0
    phase: Phase = Phase.FEATURES
    deaths: Counter[Phase] = field(default_factory=Counter)
    finished_at: datetime | None = None
    purged: bool = False


@dataclass
class PlainVersion:
    """A version; `content` stands for its bytes."""

    number: int
    parent: int | None
    task: str
    kind: VersionKind
    content: str
    state: str


@dataclass(frozen=True)
class PlainMove:
    """One line of the log."""

    seq: int
    alias: str
    version: int | None
    previous: int | None
    task: str | None


@dataclass
class Contract:
    """What there is, and what may happen to it; every method raises Refused before it changes anything."""

    tasks: dict[str, PlainTask] = field(default_factory=dict)
    versions: dict[int, PlainVersion] = field(default_factory=dict)
    log: list[PlainMove] = field(default_factory=list)
    commits: int = 0

    def points_at(self, alias: str) -> int | None:
        """Where the alias points: where its last line in the log says."""
        return next((move.version for move in reversed(self.log) if move.alias == alias), None)

    def aliases(self) -> dict[str, int]:
        """Every alias that points at a version."""
        found = {name: self.points_at(name) for name in {move.alias for move in self.log}}
        return {name: version for name, version in found.items() if version is not None}

    def last_move(self) -> PlainMove | None:
        """The last line of `serving`."""
        return next((move for move in reversed(self.log) if move.alias == SERVING), None)

    def create(self, task: PlainTask) -> None:
        if isinstance(task.requested, int):
            _need(task.requested in self.versions and self.versions[task.requested].state in SERVABLE)
        self.tasks[task.id] = task

    def commit(self, task_id: str) -> None:
        _need(self.tasks[task_id].state == "open")
        self._queue(self.tasks[task_id])

    def cancel(self, task_id: str, now: datetime) -> None:
        """`serving` goes back to the base, or the nearest forebear that can serve, unless someone else moved it."""
        task = self.tasks[task_id]
        _need(task.state in UNFINISHED)
        self._end(task, "cancelled", now)
        last = self.last_move()
        if task.claim_seq is not None and last is not None and last.seq > task.claim_seq and last.task == task_id:
            back = self._servable_forebear(task.base)
            if back != self.points_at(SERVING):
                self._move(SERVING, back, task_id)
        for version in self._made_by(task_id):
            if version.state == "ready" and version.number != self.points_at(SERVING):
                version.state = "held"

    def retry(self, task_id: str) -> None:
        """From its first base, while nothing else was built on what it made."""
        task = self.tasks[task_id]
        _need(task.state in ("failed", "cancelled") and not task.purged)
        _need(task.base is None or self.versions[task.base].state in SERVABLE)
        made = {version.number for version in self._made_by(task_id)}
        _need(not any(version.parent in made for version in self.versions.values()))
        _need(not any(made & {other.base, other.requested} for other in self._unfinished()))
        task.deaths.clear()
        task.phase, task.finished_at, task.holder = Phase.FEATURES, None, None
        self._queue(task)

    def promote(self, alias: str, number: int) -> None:
        """A person points the alias at a version."""
        _need(self.versions[number].state in SERVABLE)
        if alias == SERVING:
            self.versions[number].state = "ready"
        self._move(alias, number, None)

    def rollback_target(self, number: int | None, task_id: str | None) -> int:
        """The version named, the base of the task named, or the parent of the one in force."""
        if number is not None:
            return number
        current = self.points_at(SERVING)
        if task_id is not None:
            target = self.tasks[task_id].base
        else:
            target = None if current is None else self.versions[current].parent
        _need(target is not None)
        assert target is not None
        return target

    def delete(self, number: int) -> None:
        _need(self.versions[number].state == "deleted" or not self.needed(number))
        self.versions[number].state = "deleted"

    def needed(self, number: int) -> bool:
        """An alias points at it, it is the parent of the one in force, or an unfinished task needs it."""
        current = self.points_at(SERVING)
        return (
            number in self.aliases().values()
            or (current is not None and self.versions[current].parent == number)
            or any(number in (task.base, task.requested) for task in self._unfinished())
            or self.tasks[self.versions[number].task].state in UNFINISHED
        )

    def damage(self, number: int) -> None:
        _need(self.versions[number].state != "deleted")
        self.versions[number].state = "damaged"

    def purge(self, task_id: str) -> None:
        """Images may go that no task is to be tried again with, or whose versions a person did not want, unless they
        judge a task that is not done."""
        task = self.tasks[task_id]
        _need(task.state in ("failed", "cancelled") or (task.state == "done" and not self.came_to_something(task_id)))
        _need(
            not any(other.id != task_id and self._descends(self._base(other), task_id) for other in self._unfinished())
        )
        task.purged = True

    def _base(self, task: PlainTask) -> int | None:
        """What it builds on, or would if it were claimed now."""
        if task.claim_seq is not None:
            return task.base
        if task.requested is None:
            return self.points_at(SERVING)
        return None if task.requested == "none" else task.requested

    def _descends(self, number: int | None, task_id: str) -> bool:
        """Whether the version was learned from what the task made."""
        while number is not None:
            if self.versions[number].task == task_id:
                return True
            number = self.versions[number].parent
        return False

    def came_to_something(self, task_id: str) -> bool:
        """Whether a final version of it served or may serve."""
        return any(one.kind == "final" and one.state in ("ready", "deleted") for one in self._made_by(task_id))

    def claim(self, token: int, now: datetime) -> str | None:
        """What a dead learner left, else the first in the queue; the third death in one phase fails a task."""
        while (task := self._next_in_line()) is not None:
            base = self._base(task)
            if base is not None and self.versions[base].state not in SERVABLE:
                self._end(task, "failed", now)
                continue
            if task.state == "learning" and task.holder != token:
                task.deaths[task.phase] += 1
                if task.deaths[task.phase] >= DEATHS:
                    self._end(task, "failed", now)
                    continue
                task.phase = Phase.FEATURES
            elif task.state == "queued" and task.claim_seq is None:
                last = self.last_move()
                task.base, task.claim_seq = base, 0 if last is None else last.seq
            task.attempts += task.state == "queued" or task.holder != token
            task.state, task.holder = "learning", token
            return task.id
        return None

    def publish(self, task_id: str, kind: VersionKind, content: str, wanted: str) -> int:
        """It takes over if every move since the claim was its own and its base was in force then; else it is held."""
        task = self.tasks[task_id]
        served = "ready" if self._may_take_over(task) else "held"
        state = {"serve": served, "hold": "held", "damaged": "damaged"}[wanted]
        known = [one for one in self._made_by(task_id) if (one.kind, one.content) == (kind, content)]
        version = next((one for one in known if one.state != "deleted"), None)
        if version is None:
            number = len(self.versions) + 1
            version = self.versions[number] = PlainVersion(number, task.base, task_id, kind, content, state)
        in_force = self.points_at(SERVING) == version.number
        version.state = "ready" if in_force and state == "held" else state
        if state == "ready" and not in_force:
            self._move(SERVING, version.number, task_id)
        return version.number

    def finish(self, task_id: str, state: str, now: datetime) -> None:
        self._end(self.tasks[task_id], state, now)

    def hand_back(self, task_id: str) -> None:
        self.tasks[task_id].state = "queued"
        self.tasks[task_id].holder = None

    def _may_take_over(self, task: PlainTask) -> bool:
        assert task.claim_seq is not None
        since = [move for move in self.log if move.alias == SERVING and move.seq > task.claim_seq]
        before = [move for move in self.log if move.alias == SERVING and move.seq <= task.claim_seq]
        at_the_claim = before[-1].version if before else None
        own = all(move.task == task.id for move in since)
        return own and at_the_claim == task.base and task.promote != "manual"

    def _next_in_line(self) -> PlainTask | None:
        for state in ("learning", "queued"):
            found = sorted((one for one in self.tasks.values() if one.state == state), key=lambda one: one.committed)
            if found:
                return found[0]
        return None

    def _queue(self, task: PlainTask) -> None:
        self.commits += 1
        task.state, task.committed = "queued", self.commits

    def _end(self, task: PlainTask, state: str, now: datetime) -> None:
        task.state, task.finished_at = state, now

    def _move(self, alias: str, version: int | None, task: str | None) -> None:
        self.log.append(PlainMove(len(self.log) + 1, alias, version, self.points_at(alias), task))

    def _made_by(self, task_id: str) -> list[PlainVersion]:
        return [version for version in self.versions.values() if version.task == task_id]

    def _unfinished(self) -> list[PlainTask]:
        return [task for task in self.tasks.values() if task.state in UNFINISHED]

    def _servable_forebear(self, number: int | None) -> int | None:
        while number is not None and self.versions[number].state not in SERVABLE:
            number = self.versions[number].parent
        return number


def _need(condition: bool) -> None:
    if not condition:
        raise Refused
