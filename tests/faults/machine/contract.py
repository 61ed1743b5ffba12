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


class Unknown(Refused):
    """No, as nothing knows what was named."""


@dataclass
class PlainTask:
    """A task; `committed` is its place in the queue, `holder` the token of the learner that has it.

    `labels` are those of its images, `gone` those whose images are gone. One that `forgets` a class has no images; once
    it is `purging` there is no way back.
    """

    id: str
    requested: RequestedBase = None
    promote: Promote | None = None
    labels: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    forgets: str | None = None
    purges: bool = False
    purging: bool = False
    state: str = "open"
    committed: int = 0
    base: int | None = None
    claim_seq: int | None = None
    holder: int | None = None
    attempts: int = 0
    phase: Phase = Phase.FEATURES
    deaths: Counter[Phase] = field(default_factory=Counter)
    finished_at: datetime | None = None


@dataclass
class PlainVersion:
    """A version; `content` stands for its bytes."""

    number: int
    parent: int | None
    task: str
    kind: VersionKind
    content: str
    state: str
    labels: frozenset[str]


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
        """`serving` goes back to the base, or its nearest forebear that is ready, unless someone else moved it."""
        task = self.tasks[task_id]
        _need(task.state in UNFINISHED and not task.purging)
        self._end(task, "cancelled", now)
        last = self.last_move()
        if task.claim_seq is not None and last is not None and last.seq > task.claim_seq and last.task == task_id:
            back = self._ready_forebear(task.base)
            if back != self.points_at(SERVING):
                self._move(SERVING, back, task_id)
        for version in self._made_by(task_id):
            if version.state == "ready" and version.number != self.points_at(SERVING):
                version.state = "held"

    def retry(self, task_id: str) -> None:
        """From its first base, while nothing else was built on what it made."""
        task = self.tasks[task_id]
        _need(task.state in ("failed", "cancelled") and not task.gone)
        _need(task.base is None or task.purging or self.versions[task.base].state in SERVABLE)
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
        task.gone = set(task.labels)

    def forget(self, task: PlainTask) -> None:
        """A class in force, or, to be purged, one that anything still knows; not the only one, and not twice."""
        assert task.forgets is not None
        label, in_force = task.forgets, self._labels(self.points_at(SERVING))
        if label not in in_force and not (task.purges and self._remembered(label)):
            raise Unknown
        _need(in_force != {label})
        _need(not any(one.forgets == label and one.purges >= task.purges for one in self._unfinished()))
        _need(not task.purges or not self._named_and_knowing(label, but=SERVING))
        self.tasks[task.id] = task
        self._queue(task)

    def can_forget(self, task_id: str) -> bool:
        """Whether a version without the class can be made of the task's base."""
        task = self.tasks[task_id]
        if task.base is None or self.versions[task.base].state == "deleted":
            return False
        return task.forgets in self._labels(task.base) and len(self._labels(task.base)) > 1

    def purge_class(self, task_id: str) -> None:
        """Nothing that knows the class stays, but images of unfinished tasks; a version in use is in the way."""
        label = self.tasks[task_id].forgets
        assert label is not None
        _need(not self._named_and_knowing(label))
        self.tasks[task_id].purging = True
        for version in self.versions.values():
            if label in version.labels:
                version.state = "deleted"
        for task in self.tasks.values():
            if task.state not in UNFINISHED and label in task.labels:
                task.gone.add(label)

    def purged(self, task_id: str) -> bool:
        """Whether the task shall purge its class and has."""
        task = self.tasks[task_id]
        return task.forgets is not None and task.purges and not self._remembered(task.forgets)

    def _remembered(self, label: str) -> bool:
        ended = [task for task in self.tasks.values() if task.state not in UNFINISHED]
        return any(version.state != "deleted" and label in version.labels for version in self.versions.values()) or any(
            label in task.labels - task.gone for task in ended
        )

    def _named_and_knowing(self, label: str, but: str | None = None) -> bool:
        return any(label in self._labels(version) for alias, version in self.aliases().items() if alias != but)

    def _labels(self, number: int | None) -> frozenset[str]:
        return frozenset() if number is None else self.versions[number].labels

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
            usable = base is None or self.versions[base].state in SERVABLE or task.purging
            if not usable:
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
            labels = (self._labels(task.base) | task.labels) - {task.forgets}
            version = PlainVersion(number, task.base, task_id, kind, content, state, frozenset(labels))
            self.versions[number] = version
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

    def _ready_forebear(self, number: int | None) -> int | None:
        while number is not None and self.versions[number].state != "ready":
            number = self.versions[number].parent
        return number


def _need(condition: bool) -> None:
    if not condition:
        raise Refused
