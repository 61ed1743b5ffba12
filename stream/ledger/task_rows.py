"""From rows to tasks and back, and the one place where a task's state changes."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select, update

from stream.errors import Conflict, NotFound
from stream.ledger.leases import Lease, fenced_update
from stream.ledger.schema import tasks, versions
from stream.ledger.words import is_id
from stream.tasks import Epoch, Phase, RequestedBase, Task, TaskState

NEW_ROOT = 0
"""What `requested_base` holds where a new root was asked for; versions count from 1."""


def task_row(connection: Connection, task_id: str) -> Row[Any]:
    """The task's row. Raises NotFound."""
    found = is_id(task_id) and connection.execute(select(tasks).where(tasks.c.id == task_id)).one_or_none()
    if not found:
        raise NotFound("task", task_id)
    return found


def task_value(connection: Connection, task_id: str) -> Task:
    """The task as it is now. Raises NotFound."""
    return task_values(connection, [task_row(connection, task_id)])[0]


def task_values(connection: Connection, rows: Sequence[Row[Any]]) -> list[Task]:
    """The rows as values, with what other tables know of them."""
    made = _versions_made(connection, [row.id for row in rows])
    return [_task(row, made[row.id], _position(connection, row)) for row in rows]


def change_state(
    connection: Connection, row: Row[Any], to: TaskState, *, lease: Lease | None = None, **values: Any
) -> None:
    """Within a write: the task goes over to another state. With a lease, behind its fence.

    Raises:
        Conflict: no task goes from its state straight to that one.
        LeaseLost: the lease is no longer its holder's.
    """
    if not TaskState(row.state).may_become(to):
        raise Conflict(f"task {row.id} is {row.state} and cannot become {to}")
    statement = update(tasks).where(tasks.c.id == row.id, tasks.c.state == row.state).values(state=to, **values)
    if lease is None:
        connection.execute(statement)
    else:
        fenced_update(connection, lease, statement)


def next_seq(connection: Connection) -> int:
    """The next place in the order of commits."""
    return _next(connection, tasks.c.seq)


def next_ordinal(connection: Connection) -> int:
    """The next place in the order of creation."""
    return _next(connection, tasks.c.ordinal)


def _next(connection: Connection, column: ColumnElement[Any]) -> int:
    return (connection.execute(select(func.max(column))).scalar() or 0) + 1


def to_column(requested: RequestedBase) -> int | None:
    """A requested base as it is stored."""
    return NEW_ROOT if requested == "none" else requested


def from_column(stored: int | None) -> RequestedBase:
    """A requested base as it was asked for."""
    return "none" if stored == NEW_ROOT else stored


def _versions_made(connection: Connection, ids: Iterable[str]) -> dict[str, tuple[int, ...]]:
    query = select(versions.c.task, versions.c.version).where(versions.c.task.in_(list(ids)))
    made: dict[str, tuple[int, ...]] = defaultdict(tuple)
    for row in connection.execute(query.order_by(versions.c.version)):
        made[row.task] += (row.version,)
    return made


def _position(connection: Connection, row: Row[Any]) -> int | None:
    if row.state == TaskState.LEARNING:
        return 0
    if row.state != TaskState.QUEUED:
        return None
    query = select(func.count()).where(tasks.c.state == TaskState.QUEUED, tasks.c.seq <= row.seq)
    return connection.execute(query).scalar_one()


def _task(row: Row[Any], made: tuple[int, ...], position: int | None) -> Task:
    return Task(
        id=row.id,
        kind=row.kind,
        state=TaskState(row.state),
        position=position,
        phase=None if row.phase is None else Phase(row.phase),
        progress=row.progress,
        eta_s=row.eta_s,
        images=row.images,
        labels=dict(row.labels),
        base=row.base,
        versions=made,
        attempts=row.attempts,
        reason=row.reason,
        name=row.name,
        note=row.note,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        epochs=tuple(Epoch(**entry) for entry in row.epochs),
        by=row.by,
        seq=row.seq,
        requested_base=from_column(row.requested_base),
        promote=row.promote,
        purge=row.purge,
        frozen=row.frozen,
        claim_seq=row.claim_seq,
    )
