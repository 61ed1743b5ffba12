"""Aliases and the log of their moves: which version serves, since when, and who said so."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from stream.errors import Conflict, InvalidContent, NotFound
from stream.ledger.database import Database
from stream.ledger.pages import Page, page_of_rows
from stream.ledger.requests import Ticket, complete
from stream.ledger.schema import aliases, in_rfc3339, promotions, versions
from stream.ledger.task_rows import NEW_ROOT, task_row
from stream.ledger.version_rows import labels_of, version_row, version_value
from stream.ledger.words import is_number, shown
from stream.versions import (
    SERVING,
    Expected,
    Promotion,
    Serving,
    VersionClass,
    VersionState,
    lost_and_won,
)

ALIAS = re.compile(r"[a-z][a-z0-9._-]{0,63}")


class Promotions:
    """What serves, what served, and moving it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def serving(self) -> Serving | None:
        """What is in force; None before the first version. Cheap enough to be asked at every predict."""
        row = self._database.serving()
        return None if row is None else Serving(*row)

    def aliases(self) -> dict[str, int]:
        """Every alias that points at a version."""
        query = select(aliases.c.alias, aliases.c.version).where(aliases.c.version.is_not(None))
        with self._database.read() as connection:
            return {row.alias: row.version for row in connection.execute(query.order_by(aliases.c.alias))}

    def classes_in_force(self) -> tuple[VersionClass, ...]:
        """The classes of the version in force, in the order of its head; none before the first version."""
        with self._database.read() as connection:
            current = current_version(connection, SERVING)
            return () if current is None else version_value(version_row(connection, current)).classes

    def log(self, cursor: str | None = None, limit: int = 100, *, alias: str | None = None) -> Page[Promotion]:
        """Moves, newest first, of one alias or of all."""
        query = select(promotions)
        if alias is not None:
            query = query.where(promotions.c.alias == alias)
        with self._database.read() as connection:
            rows, following = page_of_rows(
                connection, query, promotions.c.seq, cursor, limit, lambda row: len(row.lost) + len(row.won)
            )
            return Page(tuple(promotion_value(row) for row in rows), following)

    def one(self, seq: int) -> Promotion:
        """The move with that number. Raises NotFound."""
        query = select(promotions).where(promotions.c.seq == seq)
        with self._database.read() as connection:
            found = is_number(seq) and connection.execute(query).one_or_none()
        if not found:
            raise NotFound("promotion", seq)
        return promotion_value(found)

    def at(self, moment: datetime) -> Promotion | None:
        """The move that decided what served at `moment`; None before the first.

        Raises:
            InvalidContent: a time without a zone, or one beyond the calendar.
        """
        _check_moment(moment)
        query = select(promotions).where(promotions.c.alias == SERVING, promotions.c.at <= moment)
        with self._database.read() as connection:
            row = connection.execute(query.order_by(promotions.c.seq.desc()).limit(1)).one_or_none()
        return None if row is None else promotion_value(row)

    def move(
        self,
        name: str,
        version: int,
        *,
        by: str,
        reason: str | None = None,
        expected: Expected | int | None = None,
        ticket: Ticket | None = None,
    ) -> Promotion:
        """Point the alias at the version. A held version that starts to serve is ready from then on.

        `expected` is what the caller believes in force (a bare number: the version).

        Raises:
            InvalidContent: `name` cannot be an alias, or `reason` cannot be stored.
            NotFound: no such version.
            Conflict: the version is damaged or deleted, or something else than `expected` is in force.
        """
        _check_name(name)
        shown(reason, "reason", lines=True)
        with self._database.write() as connection:
            target = version_row(connection, version)
            _check_expected(connection, name, expected)
            if not VersionState(target.state).servable:
                raise Conflict(f"version {version} is {target.state}", field="version")
            if name == SERVING and target.state == VersionState.HELD:
                connection.execute(
                    update(versions).where(versions.c.version == version).values(state=VersionState.READY)
                )
            promotion = record_move(connection, name, version, by=by, reason=reason, at=self._database.now())
            complete(connection, ticket, "promotion", promotion.seq)
        return promotion

    def remove(
        self,
        name: str,
        *,
        by: str,
        reason: str | None = None,
        expected: Expected | int | None = None,
        ticket: Ticket | None = None,
    ) -> Promotion:
        """Let the alias point at nothing, so that the version may go; its moves stay in the log, this one among them.

        Raises:
            InvalidContent: `name` cannot be an alias, or `reason` cannot be stored.
            NotFound: no such alias.
            Conflict: it is `serving`, which is only ever moved, or it points at something else than `expected`.
        """
        _check_name(name)
        shown(reason, "reason", lines=True)
        if name == SERVING:
            raise Conflict(
                f"{SERVING} is what /predict answers with: it can be moved to another version, not removed",
                field="name",
            )
        with self._database.write() as connection:
            if current_version(connection, name) is None:
                raise NotFound("alias", name)
            _check_expected(connection, name, expected)
            promotion = record_move(connection, name, None, by=by, reason=reason, at=self._database.now())
            complete(connection, ticket, "promotion", promotion.seq)
        return promotion

    def rollback_target(self, *, version: int | None = None, task: str | None = None) -> int:
        """Where a rollback goes: to the version named, the base of the task named, else the parent of the one in force.

        Raises:
            NotFound: no such version or task.
            Conflict: there is nothing to go back to.
        """
        with self._database.read() as connection:
            if version is not None:
                return int(version_row(connection, version).version)
            if task is not None:
                return _base_of_task(connection, task)
            return _parent_in_force(connection)


def expected_base(connection: Connection, row: Row[Any]) -> int | None:
    """What a task that is not claimed yet would build on now; None for a new root."""
    if row.requested_base is None:
        return current_version(connection, SERVING)
    return None if row.requested_base == NEW_ROOT else int(row.requested_base)


def current_version(connection: Connection, alias: str) -> int | None:
    """What the alias points at."""
    return connection.execute(select(aliases.c.version).where(aliases.c.alias == alias)).scalar()


def last_seq(connection: Connection, alias: str) -> int:
    """The number of the alias's last move; 0 where it never moved."""
    query = select(func.max(promotions.c.seq)).where(promotions.c.alias == alias)
    return connection.execute(query).scalar() or 0


def moved_only_by(connection: Connection, task_id: str, since_seq: int) -> bool:
    """Whether every move of `serving` after `since_seq` was made for this task."""
    foreign = promotions.c.task.is_(None) | (promotions.c.task != task_id)
    query = select(promotions.c.seq).where(promotions.c.alias == SERVING, promotions.c.seq > since_seq, foreign)
    return connection.execute(query.limit(1)).first() is None


def record_move(
    connection: Connection,
    alias: str,
    version: int | None,
    *,
    by: str,
    reason: str | None,
    at: datetime,
    task: str | None = None,
) -> Promotion:
    """Within a write: move the alias and log the move. `version` None leaves it pointing at nothing."""
    previous = current_version(connection, alias)
    lost, won = lost_and_won(labels_of(connection, previous), labels_of(connection, version))
    seq = (connection.execute(select(func.max(promotions.c.seq))).scalar() or 0) + 1
    promotion = Promotion(seq, alias, version, previous, at, by, reason, lost, won, task)
    connection.execute(insert(promotions).values(_promotion_values(promotion)))
    moved = connection.execute(update(aliases).where(aliases.c.alias == alias).values(version=version, seq=seq))
    if moved.rowcount == 0:
        connection.execute(insert(aliases).values(alias=alias, version=version, seq=seq))
    return promotion


def promotion_value(row: Row[Any]) -> Promotion:
    """The row as a value."""
    return Promotion(
        seq=row.seq,
        alias=row.alias,
        version=row.version,
        previous=row.previous,
        at=row.at,
        by=row.by,
        reason=row.reason,
        lost=tuple(row.lost),
        won=tuple(row.won),
        task=row.task,
    )


def _promotion_values(promotion: Promotion) -> Mapping[str, Any]:
    return {**vars(promotion), "lost": list(promotion.lost), "won": list(promotion.won)}


def _check_name(name: str) -> None:
    if not ALIAS.fullmatch(name):
        raise InvalidContent.of("name", "an alias has up to 64 of a–z, 0–9, '.', '_', '-' and starts with a letter")


def _check_moment(moment: datetime) -> None:
    try:
        in_rfc3339(moment)
    except OverflowError:
        raise InvalidContent.of("at", "this time lies beyond the calendar") from None
    if moment.tzinfo is None:
        raise InvalidContent.of("at", "the time needs its zone")


def _check_expected(connection: Connection, alias: str, expected: Expected | int | None) -> None:
    if expected is None:
        return
    wanted = Expected(version=expected) if isinstance(expected, int) else expected
    version, seq = current_version(connection, alias), last_seq(connection, alias)
    if wanted.version not in (None, version) or wanted.seq not in (None, seq):
        raise Conflict(f"{alias} points at version {version} since promotion {seq}", field="expected")


def _base_of_task(connection: Connection, task_id: str) -> int:
    row = task_row(connection, task_id)
    if row.base is None:
        raise Conflict(f"task {task_id} was not learned on from any version", field="task")
    return int(row.base)


def _parent_in_force(connection: Connection) -> int:
    current = current_version(connection, SERVING)
    if current is None:
        raise Conflict("no version is in force")
    parent = version_row(connection, current).parent
    if parent is None:
        raise Conflict(f"version {current} is a root: it was learned from no other")
    return int(parent)
