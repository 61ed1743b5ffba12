"""Versions are published, and found damaged. A version exists from the commit of `publish` on."""

from typing import Any, Literal

from sqlalchemy import Connection, Row, func, insert, select, update

from stream.errors import Conflict
from stream.ledger.database import Database
from stream.ledger.learning import learning_row
from stream.ledger.leases import Lease, check_held, fenced_insert, fenced_update
from stream.ledger.promotions import current_version, moved_only_by, record_move
from stream.ledger.schema import promotions, versions
from stream.ledger.version_rows import draft_values, version_row, version_value
from stream.versions import FILES_DAMAGED, SERVING, Promotion, Version, VersionDraft, VersionState

Wanted = Literal["serve", "hold", "damaged"]


class Publishing:
    """Numbers versions and lets them take over."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def publish(
        self, lease: Lease, task_id: str, draft: VersionDraft, *, wanted: Wanted
    ) -> tuple[Version, Promotion | None]:
        """Make the version exist, and put it in force if that is wanted and the task may do so; else it is held.

        It may where `serving` was not moved by anyone else since the claim, the task's base was in force then, and
        nobody asked for promotion by hand.

        The same bytes published again by the same task are the same version, judged anew; where a person has put it
        in force meanwhile, it stays ready, as what serves is never held.

        Raises:
            LeaseLost, TaskStopped: nothing was written.
        """
        with self._database.write() as connection:
            task = learning_row(connection, lease, task_id)
            obstacle = None if wanted != "serve" else _obstacle(connection, task)
            state = _state(wanted, obstacle)
            values = {**draft_values(draft), "state": state, "reason": _reasons(draft.reason, obstacle)}
            number = self._write(connection, lease, task, values)
            in_force = current_version(connection, SERVING) == number
            if in_force and state == VersionState.HELD:
                kept = {"state": VersionState.READY, "reason": draft.reason}
                fenced_update(connection, lease, update(versions).where(versions.c.version == number).values(**kept))
            promotion = None
            if state == VersionState.READY and not in_force:
                promotion = self._promote(connection, lease, task, number, draft)
            return version_value(version_row(connection, number)), promotion

    def add_root(self, draft: VersionDraft, lease: Lease) -> Version:
        """A held version without parent and task, by whoever has stored its blobs alone (`stream/retention.py`).

        Raises:
            LeaseLost: they may have been swept since; nothing was written.
        """
        with self._database.write() as connection:
            check_held(connection, lease)
            number = _next_number(connection)
            values = {**draft_values(draft), "state": VersionState.HELD, "created_at": self._database.now()}
            connection.execute(insert(versions).values(version=number, parent=None, task=None, **values))
            return version_value(version_row(connection, number))

    def mark_damaged(self, number: int, reason: str, *, lease: Lease | None = None) -> Version:
        """The version's files are not what its manifest says. Aliases stay where they are: who has it loaded goes on.

        The learner shows its lease; a service, which finds damage when it loads, has none to show.

        Raises:
            NotFound, Conflict: no such version, or it is deleted.
            LeaseLost: nothing was written.
        """
        with self._database.write() as connection:
            row = version_row(connection, number)
            if row.state != VersionState.DAMAGED:
                change_version_state(connection, lease, row, VersionState.DAMAGED, reason=FILES_DAMAGED + reason)
            return version_value(version_row(connection, number))

    def heal(self, number: int) -> Version:
        """The files of a version that was marked as damaged are whole again: it is held, or ready where it is in force.

        A version that the learner published as damaged, because it did not answer as it should, stays so.

        Raises:
            NotFound: no such version.
        """
        with self._database.write() as connection:
            row = version_row(connection, number)
            if row.state == VersionState.DAMAGED and (row.reason or "").startswith(FILES_DAMAGED):
                in_force = current_version(connection, SERVING) == number
                to = VersionState.READY if in_force else VersionState.HELD
                change_version_state(connection, None, row, to, reason="its files are whole again")
            return version_value(version_row(connection, number))

    def _write(self, connection: Connection, lease: Lease, task: Row[Any], values: dict[str, Any]) -> int:
        same = select(versions).where(
            versions.c.task == task.id,
            versions.c.kind == values["kind"],
            versions.c.digest == values["digest"],
            versions.c.state != VersionState.DELETED,
        )
        known = connection.execute(same).one_or_none()
        if known is not None:
            fenced_update(
                connection, lease, update(versions).where(versions.c.version == known.version).values(**values)
            )
            return int(known.version)
        number = _next_number(connection)
        row = {"version": number, "parent": task.base, "task": task.id, "created_at": self._database.now(), **values}
        fenced_insert(connection, lease, versions, row)
        return number

    def _promote(
        self, connection: Connection, lease: Lease, task: Row[Any], number: int, draft: VersionDraft
    ) -> Promotion:
        reason = f"{draft.kind} version of task {task.id}"
        return record_move(
            connection, SERVING, number, by=lease.name, reason=reason, at=self._database.now(), task=task.id
        )


def _next_number(connection: Connection) -> int:
    return (connection.execute(select(func.max(versions.c.version))).scalar() or 0) + 1


def change_version_state(
    connection: Connection, lease: Lease | None, row: Row[Any], to: VersionState, **values: Any
) -> None:
    """Within a write: the version goes over to another state. With a lease, behind its fence.

    Raises:
        Conflict: no version goes from its state straight to that one.
        LeaseLost: the lease is no longer its holder's.
    """
    if not VersionState(row.state).may_become(to):
        raise Conflict(f"version {row.version} is {row.state} and cannot become {to}")
    statement = update(versions).where(versions.c.version == row.version).values(state=to, **values)
    if lease is None:
        connection.execute(statement)
    else:
        fenced_update(connection, lease, statement)


def _obstacle(connection: Connection, task: Row[Any]) -> str | None:
    """Why the task's versions may not take over by themselves."""
    if task.promote == "manual":
        return "the task asked for promotion by hand"
    if not moved_only_by(connection, task.id, task.claim_seq):
        return "someone has moved serving since the task was claimed"
    in_force = connection.execute(select(promotions.c.version).where(promotions.c.seq == task.claim_seq)).scalar()
    if in_force != task.base:
        return "the task's base was not in force when it was claimed"
    return None


def _state(wanted: Wanted, obstacle: str | None) -> VersionState:
    if wanted == "damaged":
        return VersionState.DAMAGED
    return VersionState.READY if wanted == "serve" and obstacle is None else VersionState.HELD


def _reasons(*reasons: str | None) -> str | None:
    return "; ".join(reason for reason in reasons if reason) or None
