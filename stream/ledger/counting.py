"""How much there is of what, for who watches the server."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from sqlalchemy import Connection, Table, func, select

from stream.ledger.database import Database
from stream.ledger.schema import tasks, versions
from stream.tasks import TaskState
from stream.versions import VersionState

S = TypeVar("S", bound=StrEnum)


@dataclass(frozen=True)
class Counts:
    """Tasks and versions by state, every state among them, and how long ago the oldest task of the queue was created;
    0 where none waits.
    """

    tasks: Mapping[TaskState, int]
    versions: Mapping[VersionState, int]
    oldest_queued_age_s: float


class Counting:
    """Counts rows by state."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def counts(self) -> Counts:
        """All of them at one moment."""
        oldest_queued = select(func.min(tasks.c.created_at)).where(tasks.c.state == TaskState.QUEUED)
        with self._database.read() as connection:
            created_at = connection.execute(oldest_queued).scalar()
            age_s = 0.0 if created_at is None else (self._database.now() - created_at).total_seconds()
            return Counts(
                tasks=_by_state(connection, tasks, TaskState),
                versions=_by_state(connection, versions, VersionState),
                oldest_queued_age_s=max(0.0, age_s),
            )

    def versions_by_state(self) -> Mapping[VersionState, int]:
        """How many versions are in each state, every state among them; the tasks, which are many more, are not read."""
        with self._database.read() as connection:
            return _by_state(connection, versions, VersionState)


def _by_state(connection: Connection, table: Table, states: type[S]) -> dict[S, int]:
    rows = connection.execute(select(table.c.state, func.count()).group_by(table.c.state))
    found = {states(state): int(count) for state, count in rows}
    return {state: found.get(state, 0) for state in states}
