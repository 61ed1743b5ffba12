"""Leases: who may do what only one process may do, and the fence that keeps everyone else's writes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Table,
    Update,
    delete,
    exists,
    insert,
    literal,
    select,
    update,
)

from stream.errors import Conflict, LeaseLost
from stream.failpoints import reach
from stream.ledger.database import Database
from stream.ledger.schema import leases

INSTANCE_MARK = ":"
"""Leases called `kind:instance` belong to one process and are forgotten a day after it is gone."""

FORGET_AFTER = timedelta(days=1)

STORE = "store"
"""Of whoever has the blob store to himself for a moment (`stream/alone.py`); it is no sign of a host at work."""

CLOCK_MAY_GO_BACK = timedelta(minutes=1)
"""A lease of this very host that runs out later than it could, by more than this, is of before its clock was put back.

Its holder is gone, or is fenced off. Other hosts' clocks may be ahead.
"""


@dataclass(frozen=True)
class Lease:
    """What its holder shows at every write; `token` grows with every holder."""

    name: str
    owner: str
    host: str
    token: int
    ttl_s: float


@dataclass(frozen=True)
class LeaseView:
    """A lease as anyone sees it. `age_s`: seconds since it was renewed; `info`: what the holder says of itself."""

    name: str
    owner: str
    host: str
    token: int
    info: dict[str, Any]
    acquired_at: datetime
    renewed_at: datetime
    expires_at: datetime
    alive: bool
    age_s: float


class Leases:
    """Taking, keeping and reading leases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, name: str, owner: str, host: str, ttl_s: float, *, one_machine: bool = False) -> Lease | None:
        """The lease, or None while another owner holds it. Its own owner gets it anew, with a new token.

        `one_machine` says that the blobs can be seen from this machine only.

        Raises:
            Conflict: database or blobs serve one machine, and a process on another host is using them.
        """
        now = self._database.now()
        with self._database.write() as connection:
            if one_machine or self._database.is_sqlite:
                _refuse_other_hosts(connection, host, now)
            _forget_the_dead(connection, now)
            row = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
            if row is not None and row.owner != owner and _alive(row, now) and not _of_another_time(row, host, now):
                return None
            token = 1 if row is None else row.token + 1
            values: dict[str, Any] = {
                "owner": owner,
                "host": host,
                "token": token,
                "ttl_s": ttl_s,
                "info": {},
                "acquired_at": now,
                "renewed_at": now,
                "expires_at": now + timedelta(seconds=ttl_s),
            }
            if row is None:
                connection.execute(insert(leases).values(name=name, **values))
            else:
                connection.execute(update(leases).where(leases.c.name == name).values(**values))
            reach("lease.before")
        reach("lease.after")
        return Lease(name, owner, host, token, ttl_s)

    def renew(self, lease: Lease, info: Mapping[str, Any]) -> None:
        """Hold the lease for another `ttl_s` and say `info` of its holder.

        Raises:
            LeaseLost: someone else took it.
        """
        now = self._database.now()
        values = {"info": dict(info), "renewed_at": now, "expires_at": now + timedelta(seconds=lease.ttl_s)}
        with self._database.write() as connection:
            fenced_update(connection, lease, update(leases).where(leases.c.name == lease.name).values(**values))

    def release(self, lease: Lease) -> None:
        """Let the next one have it at once; nothing happens where it is lost already."""
        now = self._database.now()
        with self._database.write() as connection:
            connection.execute(
                update(leases)
                .where(leases.c.name == lease.name, leases.c.token == lease.token, leases.c.owner == lease.owner)
                .values(owner="", info={}, expires_at=now)
            )
        reach("lease.released")

    def check(self, lease: Lease) -> None:
        """Raises LeaseLost where the lease is no longer its holder's."""
        with self._database.read() as connection:
            check_held(connection, lease)

    def view(self, name: str) -> LeaseView | None:
        """The lease of that name, alive or not; None where there never was one."""
        with self._database.read() as connection:
            row = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
        return None if row is None else _view(row, self._database.now())

    def views(self, prefix: str) -> list[LeaseView]:
        """Every lease whose name starts with `prefix`, alive or not, by name."""
        query = select(leases).where(leases.c.name.startswith(prefix, autoescape=True)).order_by(leases.c.name)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        now = self._database.now()
        return [_view(row, now) for row in rows]


def held(lease: Lease) -> ColumnElement[bool]:
    """True in the database while the lease is its holder's: the fence that every write of a learner stands behind."""
    return exists(
        select(1).where(leases.c.name == lease.name, leases.c.token == lease.token, leases.c.owner == lease.owner)
    )


def fenced_update(connection: Connection, lease: Lease, statement: Update) -> int:
    """Run the update behind the fence; how many rows it changed.

    Raises:
        LeaseLost: the lease is no longer its holder's.
    """
    changed = connection.execute(statement.where(held(lease))).rowcount
    if changed == 0:
        check_held(connection, lease)
    return changed


def fenced_insert(connection: Connection, lease: Lease, table: Table, values: Mapping[str, Any]) -> None:
    """Insert one row behind the fence.

    Raises:
        LeaseLost: the lease is no longer its holder's.
    """
    columns: list[Column[Any]] = [table.c[name] for name in values]
    row = select(*(literal(values[column.name], column.type) for column in columns)).where(held(lease))
    statement = insert(table).from_select(columns, row).execution_options(preserve_rowcount=True)
    if connection.execute(statement).rowcount != 1:
        raise LeaseLost(lease.name)


def check_held(connection: Connection, lease: Lease) -> None:
    """Raises LeaseLost where the lease is no longer its holder's."""
    if not connection.execute(select(held(lease))).scalar():
        raise LeaseLost(lease.name)


def owner_alive(connection: Connection, owner: str, now: datetime) -> bool:
    """Whether a lease called so, or held by an owner called so, has not run out."""
    named = (leases.c.name == owner) | (leases.c.owner == owner)
    return any(_alive(row, now) for row in connection.execute(select(leases).where(named)))


def _alive(row: Row[Any], now: datetime) -> bool:
    return bool(row.owner != "" and row.expires_at > now)


def _of_another_time(row: Row[Any], host: str, now: datetime) -> bool:
    latest = now + timedelta(seconds=row.ttl_s) + CLOCK_MAY_GO_BACK
    return bool(row.host == host and row.expires_at > latest)


def _refuse_other_hosts(connection: Connection, host: str, now: datetime) -> None:
    query = select(leases).where(leases.c.host != host, leases.c.name != STORE).order_by(leases.c.name)
    other = next((row for row in connection.execute(query) if _alive(row, now)), None)
    if other is not None:
        raise Conflict(
            f"{other.name} runs on {other.host} and this is {host}: SQLite and a folder of blobs serve one machine. "
            "Give both the same PostgreSQL database (database_url) and the same S3 store (blobs_url)."
        )


def _forget_the_dead(connection: Connection, now: datetime) -> None:
    long_gone = leases.c.expires_at < now - FORGET_AFTER
    connection.execute(delete(leases).where(leases.c.name.contains(INSTANCE_MARK, autoescape=True), long_gone))


def _view(row: Row[Any], now: datetime) -> LeaseView:
    return LeaseView(
        name=row.name,
        owner=row.owner,
        host=row.host,
        token=row.token,
        info=row.info,
        acquired_at=row.acquired_at,
        renewed_at=row.renewed_at,
        expires_at=row.expires_at,
        alive=_alive(row, now),
        age_s=max(0.0, (now - row.renewed_at).total_seconds()),
    )
