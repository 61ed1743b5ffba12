"""A task is given up by a person, by its age, or taken up again."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from stream.errors import Conflict
from stream.ledger.database import Database
from stream.ledger.intake import RETRY_AFTER_S, Quota, check_learnable, check_queue
from stream.ledger.promotions import current_version, expected_base, last_seq, record_move
from stream.ledger.reading import ancestry
from stream.ledger.requests import Ticket, complete
from stream.ledger.schema import items, promotions, tasks, versions
from stream.ledger.task_rows import change_state, next_seq, task_row, task_value
from stream.tasks import UNFINISHED, Task, TaskState, image_key
from stream.versions import SERVING, VersionState

SERVER = "everclass"
"""Who acts where no person does."""


class Cancelling:
    """Cancels tasks, tries them again, and purges their images."""

    def __init__(self, database: Database, quota: Quota) -> None:
        self._database = database
        self._quota = quota

    def cancel(self, task_id: str, *, by: str, ticket: Ticket | None = None) -> Task:
        """Give the task up, also while it is being learned: the learner finds TaskStopped at its next write.

        In the same transaction its provisional is held, and `serving` is back on its base unless someone else has
        moved it since.

        Raises:
            NotFound, Conflict: no such task, or it is finished.
        """
        with self._database.write() as connection:
            self._cancel(connection, task_row(connection, task_id), by=by, reason=f"cancelled by {by}")
            complete(connection, ticket, "task", task_id)
            return task_value(connection, task_id)

    def expire_open_tasks(self, older_than_s: float) -> list[str]:
        """Cancel every open task that was opened longer ago; their ids."""
        limit = self._database.now() - timedelta(seconds=older_than_s)
        query = select(tasks).where(tasks.c.state == TaskState.OPEN, tasks.c.created_at < limit)
        with self._database.read() as connection:
            if connection.execute(query.limit(1)).first() is None:
                return []
        with self._database.write() as connection:
            rows = connection.execute(query.order_by(tasks.c.ordinal)).all()
            for row in rows:
                self._cancel(connection, row, by=SERVER, reason="was left open for too long")
        return [row.id for row in rows]

    def retry(self, task_id: str, *, ticket: Ticket | None = None) -> Task:
        """Put a failed or cancelled task at the end of the queue; it starts anew, from the base that it had.

        What is held out is drawn anew too, unless the client named it or the task has made a version: images that this
        one was learned from shall not judge it, nor the next one.

        Raises:
            NotFound, QuotaFull: no such task, no place in the queue.
            Conflict: it did not fail, it has no images to learn from, its images or its base are gone, or something was
                built on what it made, so that a lineage would hold the task twice.
        """
        with self._database.write() as connection:
            row = task_row(connection, task_id)
            if row.state not in (TaskState.FAILED, TaskState.CANCELLED):
                raise Conflict(f"task {task_id} is {row.state}: only a failed or cancelled one can be tried again")
            check_learnable(connection, row)
            _check_images(connection, row)
            _check_base(connection, row)
            _check_nothing_built_on(connection, task_id)
            check_queue(connection, self._quota)
            _forget_drawn_split(connection, task_id)
            change_state(connection, row, TaskState.QUEUED, seq=next_seq(connection), **AFRESH)
            complete(connection, ticket, "task", task_id)
            return task_value(connection, task_id)

    def purge_images(self, task_id: str, *, ticket: Ticket | None = None) -> list[str]:
        """Forget the images of a failed or cancelled task, or of one whose final version is held.

        Returns the keys of their blobs, which the caller deletes next (what it does not get to is swept).

        Raises:
            NotFound, Conflict: no such task, it never had images, or they are still needed, also to judge a task that
                is not done.
        """
        with self._database.write() as connection:
            row = task_row(connection, task_id)
            if not _given_up(connection, row):
                had_none = "it has no images" if row.kind == "forget" else "its images are still needed"
                raise Conflict(f"task {task_id} is {row.state}: {had_none}")
            if (judged := _judged_by(connection, task_id)) is not None:
                raise Conflict(
                    f"task {judged} is still judged by images of task {task_id}", retry_after_s=RETRY_AFTER_S
                )
            keys = mark_purged(connection, row.id)
            complete(connection, ticket, "task", task_id)
        return keys

    def _cancel(self, connection: Connection, row: Row[Any], *, by: str, reason: str) -> None:
        if row.state not in UNFINISHED:
            raise Conflict(f"task {row.id} is {row.state} already")
        if row.purging:
            raise Conflict(f"task {row.id} has begun to purge, which cannot be taken back")
        now = self._database.now()
        change_state(
            connection, row, TaskState.CANCELLED, reason=reason, finished_at=now, eta_s=None, **WITHOUT_CHECKPOINT
        )
        if _last_move_was_own(connection, row):
            self._put_back(connection, row, by)
        _hold_versions(connection, row.id)

    def _put_back(self, connection: Connection, row: Row[Any], by: str) -> None:
        back = ready_ancestor(connection, row.base)
        if current_version(connection, SERVING) != back:
            reason, now = f"task {row.id} was cancelled", self._database.now()
            record_move(connection, SERVING, back, by=by, reason=reason, at=now, task=row.id)


WITHOUT_CHECKPOINT: dict[str, Any] = {"checkpoint_key": None, "checkpoint_info": None, "checkpoint_at": None}
"""A finished task goes on from nowhere; the blob is swept."""

AFRESH: dict[str, Any] = {
    **WITHOUT_CHECKPOINT,
    "frozen": None,
    "deaths": {},
    "phase": None,
    "progress": 0.0,
    "eta_s": None,
    "epochs": [],
    "reason": None,
    "started_at": None,
    "finished_at": None,
    "claim_token": None,
}
"""What a task that is tried again forgets. Not its base and claim: it may take over unless someone moved `serving`."""


def ready_ancestor(connection: Connection, number: int | None) -> int | None:
    """The version itself or the nearest one above it that may serve by itself; None where there is none."""
    while number is not None:
        row = connection.execute(select(versions.c.state, versions.c.parent).where(versions.c.version == number)).one()
        if row.state == VersionState.READY:
            break
        number = row.parent
    return number


def mark_purged(connection: Connection, task_id: str, *, held_out_too: bool = True) -> list[str]:
    """Mark the task's images as gone, those that only judge or not; the keys of those that were there."""
    mine = (items.c.task == task_id) & items.c.purged.is_(False)
    if not held_out_too:
        mine &= items.c.split.is_distinct_from("held_out")
    keys = [image_key(task_id, sha256) for sha256 in connection.execute(select(items.c.sha256).where(mine)).scalars()]
    connection.execute(update(items).where(mine).values(purged=True))
    return keys


def _judged_by(connection: Connection, task_id: str) -> str | None:
    """An unfinished task that builds on what this one made, and so reads its held-out images."""
    made = set(connection.execute(select(versions.c.version).where(versions.c.task == task_id)).scalars())
    if not made:
        return None
    others = select(tasks).where(tasks.c.state.in_(UNFINISHED), tasks.c.id != task_id)
    for other in connection.execute(others.order_by(tasks.c.ordinal)):
        base = other.base if other.claim_seq is not None else expected_base(connection, other)
        if base is not None and made & ancestry(connection, [base]):
            return str(other.id)
    return None


def _last_move_was_own(connection: Connection, row: Row[Any]) -> bool:
    if row.claim_seq is None:
        return False
    query = select(promotions.c.task).where(promotions.c.seq == last_seq(connection, SERVING))
    return last_seq(connection, SERVING) > row.claim_seq and bool(connection.execute(query).scalar() == row.id)


def _hold_versions(connection: Connection, task_id: str) -> None:
    """All but the one in force, which someone else has put there."""
    mine = (versions.c.task == task_id) & (versions.c.state == VersionState.READY)
    current = current_version(connection, SERVING)
    if current is not None:
        mine &= versions.c.version != current
    connection.execute(update(versions).where(mine).values(state=VersionState.HELD, reason="its task was cancelled"))


def _forget_drawn_split(connection: Connection, task_id: str) -> None:
    made = select(versions.c.version).where(versions.c.task == task_id).limit(1)
    if connection.execute(made).first() is None:
        connection.execute(update(items).where(items.c.task == task_id).values(split=items.c.named_split))


def _check_images(connection: Connection, row: Row[Any]) -> None:
    query = select(items.c.position).where(items.c.task == row.id, items.c.purged.is_(True)).limit(1)
    if connection.execute(query).first() is not None:
        raise Conflict(f"the images of task {row.id} are gone: send them again as a new task")


def _check_base(connection: Connection, row: Row[Any]) -> None:
    if row.base is None or row.purging:
        return
    state = connection.execute(select(versions.c.state).where(versions.c.version == row.base)).scalar_one()
    if not VersionState(state).servable:
        raise Conflict(f"version {row.base}, which task {row.id} builds on, is {state}")


def _check_nothing_built_on(connection: Connection, task_id: str) -> None:
    made = select(versions.c.version).where(versions.c.task == task_id)
    child = connection.execute(select(versions.c.version).where(versions.c.parent.in_(made)).limit(1)).scalar()
    if child is not None:
        raise Conflict(f"version {child} was learned from what task {task_id} made")
    building = tasks.c.state.in_(UNFINISHED) & (tasks.c.base.in_(made) | tasks.c.requested_base.in_(made))
    other = connection.execute(select(tasks.c.id).where(building).limit(1)).scalar()
    if other is not None:
        raise Conflict(f"task {other} builds on what task {task_id} made")


def _given_up(connection: Connection, row: Row[Any]) -> bool:
    if row.state in (TaskState.FAILED, TaskState.CANCELLED):
        return True
    if row.state != TaskState.DONE:
        return False
    return not final_ready(connection, row.id)


def final_ready(connection: Connection, task_id: str) -> bool:
    """Whether the task has a final version that is not held."""
    query = select(versions.c.version).where(
        versions.c.task == task_id,
        versions.c.kind == "final",
        versions.c.state.in_([VersionState.READY, VersionState.DELETED]),
    )
    return connection.execute(query.limit(1)).first() is not None
