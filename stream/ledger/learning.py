"""The learner's side of a task: claimed, frozen, reported on, finished. Every write stands behind the lease's fence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from stream.errors import LeaseLost, TaskStopped
from stream.ledger.cancelling import WITHOUT_CHECKPOINT
from stream.ledger.database import Database
from stream.ledger.leases import Lease, check_held, fenced_update, held
from stream.ledger.promotions import expected_base, last_seq
from stream.ledger.schema import items, tasks, versions
from stream.ledger.task_rows import change_state, task_row, task_value
from stream.tasks import Checkpoint, Epoch, Phase, Split, Task, TaskState
from stream.versions import SERVING, VersionState

MAX_DEATHS = 3
"""A task whose learner died so often in one phase is failed, and the queue goes on."""


class Learning:
    """Claims tasks and writes down how they go."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, lease: Lease) -> Task | None:
        """The task to learn now: one that a dead learner left behind, else the oldest in the queue, if any.

        The first claim fixes the base and the last move of `serving`. A task left behind by another holder of the
        lease counts a death in the phase that it was in; the third in one phase fails it.

        Raises:
            LeaseLost: nothing was claimed.
        """
        with self._database.write() as connection:
            check_held(connection, lease)
            while (row := _next_in_line(connection)) is not None:
                if self._take(connection, lease, row):
                    return task_value(connection, row.id)
        return None

    def freeze(self, lease: Lease, task_id: str, settings: Mapping[str, Any], splits: Mapping[int, Split]) -> Task:
        """Fix what the task is learned with, and which of its images (by item id) only judge.

        Frozen once, it stays so: a second call changes nothing.

        Raises:
            LeaseLost, TaskStopped: nothing was written.
        """
        with self._database.write() as connection:
            if learning_row(connection, lease, task_id).frozen is None:
                _update(connection, lease, task_id, {"frozen": dict(settings)})
                _set_splits(connection, lease, task_id, splits)
            return task_value(connection, task_id)

    def report(
        self,
        lease: Lease,
        task_id: str,
        phase: Phase,
        progress: float,
        eta_s: float | None,
        epochs: Sequence[Epoch] | None = None,
    ) -> None:
        """Say how far the task is: `progress` in 0–1, seconds left, all epochs so far (None: as they were).

        Raises:
            LeaseLost, TaskStopped: nothing was written; the learner stops.
        """
        known = eta_s is not None and math.isfinite(eta_s)
        values: dict[str, Any] = {"phase": phase, "progress": progress, "eta_s": eta_s if known else None}
        if epochs is not None:
            values["epochs"] = [asdict(epoch) for epoch in epochs]
        with self._database.write() as connection:
            _update(connection, lease, task_id, values)

    def save_checkpoint(self, lease: Lease, task_id: str, key: str, info: Mapping[str, Any]) -> str | None:
        """From here on the task goes on from the blob at `key`.

        Returns the key of the checkpoint before, which the learner deletes.

        Raises:
            LeaseLost, TaskStopped: nothing was written.
        """
        with self._database.write() as connection:
            before = learning_row(connection, lease, task_id).checkpoint_key
            now = self._database.now()
            values = {"checkpoint_key": key, "checkpoint_info": dict(info), "checkpoint_at": now}
            _update(connection, lease, task_id, values)
        return None if before == key else before

    def checkpoint(self, task_id: str) -> Checkpoint | None:
        """Where the task goes on from; None where it starts at its beginning. Raises NotFound."""
        with self._database.read() as connection:
            row = task_row(connection, task_id)
        if row.checkpoint_key is None:
            return None
        return Checkpoint(row.checkpoint_key, row.checkpoint_info, row.checkpoint_at)

    def finish(self, lease: Lease, task_id: str) -> Task:
        """The task is done. Raises LeaseLost, TaskStopped."""
        return self._end(lease, task_id, TaskState.DONE, progress=1.0, reason=None)

    def fail(self, lease: Lease, task_id: str, reason: str) -> Task:
        """The task failed; a provisional that it made stays as it is. Raises LeaseLost, TaskStopped."""
        return self._end(lease, task_id, TaskState.FAILED, reason=reason)

    def hand_back(self, lease: Lease, task_id: str) -> Task:
        """The learner stops: the task is the next in the queue again, with its base, settings and checkpoint.

        Raises:
            LeaseLost, TaskStopped: nothing was written.
        """
        with self._database.write() as connection:
            row = learning_row(connection, lease, task_id)
            change_state(connection, row, TaskState.QUEUED, lease=lease, eta_s=None, claim_token=None)
            return task_value(connection, task_id)

    def _end(self, lease: Lease, task_id: str, state: TaskState, **values: Any) -> Task:
        with self._database.write() as connection:
            row = learning_row(connection, lease, task_id)
            ending = {"finished_at": self._database.now(), "eta_s": None, **WITHOUT_CHECKPOINT, **values}
            change_state(connection, row, state, lease=lease, **ending)
            return task_value(connection, task_id)

    def _take(self, connection: Connection, lease: Lease, row: Row[Any]) -> bool:
        """Whether the task is the lease's from now on; if not, it was failed."""
        base = expected_base(connection, row) if row.claim_seq is None else row.base
        if not row.purging and (why := _unusable(connection, base)) is not None:
            self._give_up(connection, lease, row, why)
            return False
        if row.state == TaskState.LEARNING:
            return self._take_over(connection, lease, row)
        values: dict[str, Any] = {}
        if row.claim_seq is None:
            values = {"base": base, "claim_seq": last_seq(connection, SERVING)}
        values |= {
            "claim_token": lease.token,
            "attempts": row.attempts + 1,
            "started_at": row.started_at or self._database.now(),
        }
        change_state(connection, row, TaskState.LEARNING, lease=lease, **values)
        return True

    def _take_over(self, connection: Connection, lease: Lease, row: Row[Any]) -> bool:
        if row.claim_token == lease.token:
            return True
        phase = row.phase or Phase.FEATURES
        deaths = {**row.deaths, phase: row.deaths.get(phase, 0) + 1}
        if deaths[phase] >= MAX_DEATHS:
            self._give_up(connection, lease, row, f"the learner died {deaths[phase]} times in phase {phase}")
            return False
        values = {
            "claim_token": lease.token,
            "deaths": deaths,
            "attempts": row.attempts + 1,
            "phase": Phase.FEATURES,
        }
        fenced_update(connection, lease, update(tasks).where(tasks.c.id == row.id).values(**values))
        return True

    def _give_up(self, connection: Connection, lease: Lease, row: Row[Any], reason: str) -> None:
        values: dict[str, Any] = {"reason": reason, "finished_at": self._database.now(), "eta_s": None}
        change_state(connection, row, TaskState.FAILED, lease=lease, **values, **WITHOUT_CHECKPOINT)


def learning_row(connection: Connection, lease: Lease, task_id: str) -> Row[Any]:
    """The row of a task that this lease is learning.

    Raises:
        NotFound: there is no such task.
        LeaseLost: the lease, or the task, is another's.
        TaskStopped: the task is no longer being learned.
    """
    check_held(connection, lease)
    row = task_row(connection, task_id)
    if row.state != TaskState.LEARNING:
        raise TaskStopped(task_id, row.state)
    if row.claim_token != lease.token:
        raise LeaseLost(lease.name)
    return row


def _update(connection: Connection, lease: Lease, task_id: str, values: Mapping[str, Any]) -> None:
    learning_row(connection, lease, task_id)
    mine = (tasks.c.id == task_id) & (tasks.c.state == TaskState.LEARNING) & (tasks.c.claim_token == lease.token)
    fenced_update(connection, lease, update(tasks).where(mine).values(**values))


def _set_splits(connection: Connection, lease: Lease, task_id: str, splits: Mapping[int, Split]) -> None:
    if not splits:
        return
    statement = update(items).where(items.c.task == task_id, items.c.position == bindparam("item"), held(lease))
    connection.execute(
        statement.values(split=bindparam("part")), [{"item": item, "part": part} for item, part in splits.items()]
    )


def _next_in_line(connection: Connection) -> Row[Any] | None:
    for state in (TaskState.LEARNING, TaskState.QUEUED):
        query = select(tasks).where(tasks.c.state == state).order_by(tasks.c.seq).limit(1)
        row = connection.execute(query).one_or_none()
        if row is not None:
            return row
    return None


def _unusable(connection: Connection, base: int | None) -> str | None:
    if base is None:
        return None
    state = connection.execute(select(versions.c.state).where(versions.c.version == base)).scalar_one()
    return None if VersionState(state).servable else f"version {base}, which the task would build on, is {state}"
