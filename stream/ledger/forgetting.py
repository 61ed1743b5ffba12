"""A class is to be forgotten: the task that does so, and, where it shall purge, all that still knows the class."""

from typing import Any

from sqlalchemy import Connection, Row, Select, select, update

from stream.errors import Conflict, NotFound
from stream.ledger.database import Database
from stream.ledger.intake import Quota, check_queue, insert_task
from stream.ledger.learning import learning_row
from stream.ledger.leases import Lease, fenced_update
from stream.ledger.promotions import current_version
from stream.ledger.publishing import change_version_state
from stream.ledger.requests import Ticket, complete
from stream.ledger.schema import aliases, items, tasks, versions
from stream.ledger.task_rows import change_state, next_seq, task_row, task_value
from stream.ledger.version_rows import labels_of
from stream.tasks import UNFINISHED, NewTask, Task, TaskState, image_key, new_task_id
from stream.versions import SERVING, VersionState


class Forgetting:
    """Queues tasks that forget, and lets go of what knew their class."""

    def __init__(self, database: Database, quota: Quota) -> None:
        self._database = database
        self._quota = quota

    def forget(self, label: str, *, by: str, purge: bool = False, ticket: Ticket | None = None) -> Task:
        """A queued task that makes a version without the class; with `purge` nothing that knows it stays afterwards.

        With `purge` the class may be one that only older versions, or stored images, still know.

        Raises:
            NotFound: nothing knows the class.
            Conflict: it is the only class in force, a task is about to forget it, or an alias other than `serving`
                points at a version that knows it and shall be purged.
            QuotaFull: no room in the queue.
        """
        with self._database.write() as connection:
            self._check(connection, label, purge)
            check_queue(connection, self._quota)
            new = NewTask(new_task_id(), by, "forget", purge=purge)
            insert_task(connection, new, self._database.now(), {label: 0})
            change_state(connection, task_row(connection, new.id), TaskState.QUEUED, seq=next_seq(connection))
            complete(connection, ticket, "task", new.id)
            return task_value(connection, new.id)

    def purge_class(self, lease: Lease, task_id: str) -> None:
        """Delete every version that knows the task's class, and mark its stored images as gone.

        Images of tasks that are not finished stay: they were sent to be learned. Doing it again changes nothing. From
        here on the task cannot be cancelled.

        Raises:
            Conflict: a version that knows the class is in force, or has another alias; nothing was changed.
            LeaseLost, TaskStopped: nothing was changed.
        """
        with self._database.write() as connection:
            label = forgotten_label(learning_row(connection, lease, task_id))
            _check_unnamed(connection, label, serving_too=True)
            for row in _knowing(connection, label):
                change_version_state(connection, lease, row, VersionState.DELETED, reason="purged with a class it knew")
            mine = _images_of(label) & items.c.purged.is_(False)
            connection.execute(update(items).where(mine).values(purged=True, name=None))
            fenced_update(connection, lease, update(tasks).where(tasks.c.id == task_id).values(purging=True))

    def purged_images(self, label: str) -> list[str]:
        """The blobs of the class's images that a purge has marked as gone."""
        purged = _images_of(label) & items.c.purged.is_(True)
        with self._database.read() as connection:
            images = connection.execute(select(items.c.task, items.c.sha256).where(purged)).all()
        return sorted(image_key(row.task, row.sha256) for row in images)

    def _check(self, connection: Connection, label: str, purge: bool) -> None:
        in_force = labels_of(connection, current_version(connection, SERVING))
        if label not in in_force and not (purge and _remembered(connection, label)):
            raise NotFound("class", label)
        if in_force == (label,):
            raise Conflict(f"{label!r} is the only class in force: a version without any cannot serve", field="label")
        waiting = select(tasks).where(tasks.c.kind == "forget", tasks.c.state.in_(UNFINISHED))
        for row in connection.execute(waiting):
            if forgotten_label(row) == label and row.purge >= purge:
                raise Conflict(f"task {row.id} is about to forget {label!r}", field="label")
        if purge:
            _check_unnamed(connection, label, serving_too=False)


def forgotten_label(row: Row[Any]) -> str:
    """The class that a task of kind `forget` is about."""
    (label,) = row.labels
    return str(label)


def _check_unnamed(connection: Connection, label: str, *, serving_too: bool) -> None:
    query = select(aliases.c.alias, aliases.c.version).where(aliases.c.version.is_not(None))
    if not serving_too:
        query = query.where(aliases.c.alias != SERVING)
    for row in connection.execute(query.order_by(aliases.c.alias)).all():
        if label in labels_of(connection, row.version):
            raise Conflict(
                f"nothing is purged while {row.alias} points at version {row.version}, which knows {label!r}",
                field="purge",
            )


def _remembered(connection: Connection, label: str) -> bool:
    stored = select(items.c.position).where(_images_of(label), items.c.purged.is_(False)).limit(1)
    return bool(_knowing(connection, label)) or connection.execute(stored).first() is not None


def _knowing(connection: Connection, label: str) -> list[Row[Any]]:
    living = select(versions).where(versions.c.state != VersionState.DELETED).order_by(versions.c.version)
    return [row for row in connection.execute(living) if _knows(row, label)]


def _knows(row: Any, label: str) -> bool:
    return any(entry["label"] == label for entry in row.classes)


def _images_of(label: str) -> Any:
    finished: Select[Any] = select(tasks.c.id).where(tasks.c.state.not_in(UNFINISHED))
    return (items.c.label == label) & items.c.task.in_(finished)
