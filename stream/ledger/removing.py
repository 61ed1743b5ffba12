"""Versions and images go: because someone asks for it, or because nothing needs them any more."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from stream.errors import Conflict
from stream.ledger.cancelling import final_ready, mark_purged
from stream.ledger.database import Database
from stream.ledger.leases import Lease, check_held
from stream.ledger.promotions import current_version
from stream.ledger.publishing import change_version_state
from stream.ledger.reading import ancestry
from stream.ledger.requests import Ticket, complete
from stream.ledger.schema import aliases, graphs, items, promotions, tasks, versions
from stream.ledger.version_rows import version_row, version_value
from stream.manifest import manifest_key, part_key
from stream.tasks import UNFINISHED, TaskState, image_key
from stream.versions import SERVING, Version, VersionState

DELETED_BY_RETENTION = "no longer needed"


@dataclass(frozen=True)
class References:
    """Every blob that something needs, apart from images."""

    parts: frozenset[str]
    manifests: frozenset[str]
    checkpoints: frozenset[str]

    @property
    def shared_keys(self) -> frozenset[str]:
        """The keys of parts and manifests."""
        return frozenset(map(part_key, self.parts)) | frozenset(map(manifest_key, self.manifests))


class Removing:
    """Deletes versions, marks images as gone, and says which blobs are needed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def delete_version(self, number: int, *, ticket: Ticket | None = None) -> Version:
        """Delete the version: its row stays, its files are swept. Deleting it again changes nothing.

        Raises:
            NotFound: no such version.
            Conflict: an alias points at it, it is the parent of the one in force, or an unfinished task needs it.
        """
        with self._database.write() as connection:
            row = version_row(connection, number)
            if row.state != VersionState.DELETED:
                if (why := _needed_because(connection, row)) is not None:
                    raise Conflict(f"version {number} cannot be deleted: {why}")
                change_version_state(connection, None, row, VersionState.DELETED, reason="deleted by a person")
            complete(connection, ticket, "version", number)
            return version_value(version_row(connection, number))

    def sweep_versions(self, lease: Lease, keep: int | None) -> list[int]:
        """Delete provisional versions whose final was in force, and finals beyond the newest `keep`: their numbers.

        With the finals go provisional versions older than every one that is kept: their own finals were held.
        What an alias points at, the parent of the one in force and what an unfinished task builds on always stay, and
        what a failed or cancelled task built on while its images are there, since it may be tried again.

        Raises:
            LeaseLost: nothing was deleted.
        """
        deleted = []
        with self._database.write() as connection:
            check_held(connection, lease)
            leaving = {row.version: row for row in [*_superseded(connection), *_beyond(connection, keep)]}
            for row in leaving.values():
                if _needed_because(connection, row) is None and not _may_be_retried_on(connection, row.version):
                    change_version_state(connection, lease, row, VersionState.DELETED, reason=DELETED_BY_RETENTION)
                    deleted.append(int(row.version))
        return sorted(deleted)

    def sweep_images(self, lease: Lease, task_days: float) -> list[str]:
        """Mark images that nothing needs any more as gone: the keys of their blobs, which the caller deletes next.

        The training images of a task go when it is done; all images of one that failed, was cancelled or made only held
        versions after `task_days`. Held-out images stay while a version that is learned from them lives.

        Raises:
            LeaseLost: nothing was marked.
        """
        limit = self._database.now() - timedelta(days=task_days)
        keys: list[str] = []
        with self._database.write() as connection:
            check_held(connection, lease)
            judging = _tasks_of_living_lineages(connection)
            for row in _with_images(connection):
                old = row.finished_at <= limit
                if old or (row.state == TaskState.DONE and final_ready(connection, row.id)):
                    keys += mark_purged(connection, row.id, held_out_too=False)
                if old and row.id not in judging:
                    keys += mark_purged(connection, row.id)
        return keys

    def references(self) -> References:
        """Every part, manifest and checkpoint that is needed."""
        living = select(versions.c.digest, versions.c.parts).where(versions.c.state != VersionState.DELETED)
        saved = select(tasks.c.checkpoint_key).where(tasks.c.checkpoint_key.is_not(None))
        with self._database.read() as connection:
            rows = connection.execute(living).all()
            graph_digests = connection.execute(select(graphs.c.digest)).scalars().all()
            checkpoints = connection.execute(saved).scalars().all()
        parts = {part for row in rows for part in row.parts} | set(graph_digests)
        return References(frozenset(parts), frozenset(row.digest for row in rows), frozenset(checkpoints))

    def open_tasks(self) -> frozenset[str]:
        """Tasks that may still be sent images."""
        with self._database.read() as connection:
            query = select(tasks.c.id).where(tasks.c.state == TaskState.OPEN)
            return frozenset(connection.execute(query).scalars())

    def image_keys(self, task_id: str, *, purged: bool = False) -> frozenset[str]:
        """The keys of the task's images that are still needed, or of those that were let go of; none for a task that
        does not exist.
        """
        query = select(items.c.sha256).where(items.c.task == task_id, items.c.purged.is_(purged))
        with self._database.read() as connection:
            return frozenset(image_key(task_id, sha256) for sha256 in connection.execute(query).scalars())

    def all_image_keys(self) -> frozenset[str]:
        """The keys of the images of all tasks that are still needed."""
        query = select(items.c.task, items.c.sha256).where(items.c.purged.is_(False))
        with self._database.read() as connection:
            return frozenset(image_key(row.task, row.sha256) for row in connection.execute(query))


def _needed_because(connection: Connection, row: Row[Any]) -> str | None:
    alias = connection.execute(select(aliases.c.alias).where(aliases.c.version == row.version)).scalar()
    if alias is not None:
        return f"the alias {alias} points at it"
    current = current_version(connection, SERVING)
    if current is not None and version_row(connection, current).parent == row.version:
        return f"version {current}, which is in force, was learned from it"
    building = (tasks.c.base == row.version) | (tasks.c.requested_base == row.version) | (tasks.c.id == row.task)
    task = connection.execute(select(tasks.c.id).where(building, tasks.c.state.in_(UNFINISHED))).scalar()
    return None if task is None else f"task {task} needs it"


def _may_be_retried_on(connection: Connection, number: int) -> bool:
    given_up = select(tasks.c.id).where(
        tasks.c.base == number, tasks.c.state.in_([TaskState.FAILED, TaskState.CANCELLED])
    )
    stored = select(items.c.position).where(items.c.task.in_(given_up), items.c.purged.is_(False)).limit(1)
    return connection.execute(stored).first() is not None


def _superseded(connection: Connection) -> list[Row[Any]]:
    """Provisional versions whose final has been in force, and that no living version was learned from."""
    final, child = versions.alias("final"), versions.alias("child")
    followed = (
        select(final.c.version)
        .join(promotions, (promotions.c.version == final.c.version) & (promotions.c.alias == SERVING))
        .where(final.c.task == versions.c.task, final.c.kind == "final", final.c.state == VersionState.READY)
    )
    learned_on = select(child.c.version).where(
        child.c.parent == versions.c.version, child.c.state != VersionState.DELETED
    )
    query = select(versions).where(
        versions.c.kind == "provisional",
        versions.c.state != VersionState.DELETED,
        followed.exists(),
        ~learned_on.exists(),
    )
    return list(connection.execute(query.order_by(versions.c.version)).all())


def _beyond(connection: Connection, keep: int | None) -> Iterable[Row[Any]]:
    if keep is None:
        return []
    living = select(versions).where(versions.c.state != VersionState.DELETED).order_by(versions.c.version.desc())
    finals = connection.execute(living.where(versions.c.kind == "final")).all()
    older = versions.c.version < (finals[keep - 1].version if 0 < keep <= len(finals) else 0)
    provisional = connection.execute(living.where(versions.c.kind == "provisional", older)).all()
    return [*finals[keep:], *provisional]


def _tasks_of_living_lineages(connection: Connection) -> set[str]:
    living = connection.execute(select(versions.c.version).where(versions.c.state != VersionState.DELETED)).scalars()
    query = select(versions.c.task).where(versions.c.version.in_(ancestry(connection, list(living))))
    return {task for task in connection.execute(query).scalars() if task is not None}


def _with_images(connection: Connection) -> list[Row[Any]]:
    stored = select(items.c.task).where(items.c.purged.is_(False)).distinct()
    query = select(tasks).where(tasks.c.id.in_(stored), tasks.c.state.not_in(UNFINISHED))
    return list(connection.execute(query.order_by(tasks.c.ordinal)).all())
