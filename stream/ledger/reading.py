"""What anyone may know of tasks and their images."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, literal, select

from stream.ledger.database import Database
from stream.ledger.intake import LOOKED_UP_AT_ONCE
from stream.ledger.pages import Page, page_of_rows
from stream.ledger.schema import items, tasks, versions
from stream.ledger.task_rows import task_row, task_value, task_values
from stream.ledger.version_rows import version_row, version_value
from stream.tasks import Item, Task, TaskState
from stream.versions import Version


class Reading:
    """Reads tasks, images, and versions with their ancestry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def task(self, task_id: str) -> Task:
        """The task as it is now. Raises NotFound."""
        with self._database.read() as connection:
            return task_value(connection, task_id)

    def tasks(self, cursor: str | None = None, limit: int = 100, state: TaskState | None = None) -> Page[Task]:
        """Tasks, newest first; of one state or of all. Raises InvalidContent for a strange cursor or limit."""
        query = select(tasks)
        if state is not None:
            query = query.where(tasks.c.state == state)
        with self._database.read() as connection:
            rows, following = page_of_rows(
                connection, query, tasks.c.ordinal, cursor, limit, lambda row: len(row.labels)
            )
            return Page(tuple(task_values(connection, rows)), following)

    def items(self, task_id: str) -> list[Item]:
        """The task's images in the order in which they came; a purged one is a row without bytes. Raises NotFound."""
        with self._database.read() as connection:
            task_row(connection, task_id)
            query = select(items).where(items.c.task == task_id).order_by(items.c.position)
            return [item_value(row) for row in connection.execute(query)]

    def version(self, number: int) -> Version:
        """The version as it is now. Raises NotFound."""
        with self._database.read() as connection:
            return version_value(version_row(connection, number))

    def versions(self, cursor: str | None = None, limit: int = 100) -> Page[Version]:
        """Versions, newest first. Raises InvalidContent for a strange cursor or limit."""
        with self._database.read() as connection:
            rows, following = page_of_rows(
                connection, select(versions), versions.c.version, cursor, limit, _lines_of_version
            )
            return Page(tuple(version_value(row) for row in rows), following)

    def lineage(self, number: int) -> list[Version]:
        """The version and what it was learned from, back to the root: the root first. Raises NotFound."""
        with self._database.read() as connection:
            version_row(connection, number)
            numbers = ancestry(connection, [number])
            query = select(versions).where(versions.c.version.in_(numbers)).order_by(versions.c.version)
            return [version_value(row) for row in connection.execute(query)]

    def held_out(self, number: int) -> list[tuple[str, Item]]:
        """The held-out images of the version's lineage, each with its task's id, oldest task first.

        Those of a class that the lineage forgot are none of its; they are again from a task on that brings it anew.
        """
        pairs: list[tuple[str, Item]] = []
        with self._database.read() as connection:
            for task_id, forgotten in _lineage_tasks(connection, number):
                pairs = [pair for pair in pairs if pair[1].label not in forgotten]
                pairs += _held_out_of(connection, task_id)
        return pairs

    def trained_on(self, task_ids: Collection[str], digests: Sequence[str]) -> frozenset[str]:
        """Those of these pictures, by pixel digest, that the tasks learned from, also where their bytes are gone."""
        found: set[str] = set()
        with self._database.read() as connection:
            for start in range(0, len(digests) if task_ids else 0, LOOKED_UP_AT_ONCE):
                query = select(items.c.task, items.c.pixel_digest).where(
                    items.c.pixel_digest.in_(digests[start : start + LOOKED_UP_AT_ONCE]),
                    items.c.split.is_distinct_from("held_out"),
                )
                found.update(row.pixel_digest for row in connection.execute(query) if row.task in task_ids)
        return frozenset(found)


def ancestry(connection: Connection, numbers: Sequence[int]) -> set[int]:
    """These versions and everything that they were learned from."""
    start = select(versions.c.version, versions.c.parent).where(versions.c.version.in_(numbers))
    line = start.cte("line", recursive=True)
    line = line.union(select(versions.c.version, versions.c.parent).where(versions.c.version == line.c.parent))
    return set(connection.execute(select(line.c.version)).scalars())


def item_value(row: Row[Any]) -> Item:
    """The row as a value."""
    return Item(
        id=row.position,
        sha256=row.sha256,
        label=row.label,
        split=row.split,
        size_bytes=row.size_bytes,
        pixel_digest=row.pixel_digest,
        name=row.name,
        purged=row.purged,
    )


def _lineage_tasks(connection: Connection, number: int) -> list[tuple[str, frozenset[str]]]:
    """The lineage's tasks, oldest first, each with the labels that it made the lineage forget."""
    version_row(connection, number)
    query = (
        select(versions.c.task, tasks.c.kind, tasks.c.labels)
        .outerjoin(tasks, tasks.c.id == versions.c.task)
        .where(versions.c.version.in_(ancestry(connection, [number])), versions.c.task.is_not(None))
        .order_by(versions.c.version)
    )
    return list(
        {
            row.task: (row.task, frozenset(row.labels) if row.kind == "forget" else frozenset())
            for row in connection.execute(query)
        }.values()
    )


def _held_out_of(connection: Connection, task_id: str) -> list[tuple[str, Item]]:
    query = select(items, literal(task_id)).where(
        items.c.task == task_id, items.c.split == "held_out", items.c.purged.is_(False)
    )
    return [(task_id, item_value(row)) for row in connection.execute(query.order_by(items.c.position))]


def _lines_of_version(row: Row[Any]) -> int:
    """How long a version is on the wire: a line for each class, and for each task that judged it."""
    return len(row.classes) + len(row.accuracy_per_task)
