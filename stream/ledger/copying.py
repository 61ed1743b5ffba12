"""All that a ledger holds, as of one moment, into another database: from SQLite or PostgreSQL into either.

And by what one tells whether two ledgers are the same one, earlier and later.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, delete, insert, select

from stream.errors import Conflict
from stream.ledger.database import Database
from stream.ledger.migrations import migrate
from stream.ledger.schema import keys, leases, metadata, requests, tasks, versions

ROWS_AT_ONCE = 500

FIRST = {"versions": "version", "promotions": "seq"}
"""Tables whose rows point at earlier ones of the same table, by the column that says which are earlier."""


class Copying:
    """Writes everything into another database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check_empty(self) -> None:
        """Raises Conflict where anything is here, or someone is at work."""
        with self._database.read() as connection:
            _check_empty(connection, self._database.now())

    def history(self) -> frozenset[str]:
        """What stays in a ledger for ever and is in no other: its tasks, keys and imported versions, each in words.

        An earlier state of a ledger has a part of it, and a ledger that holds nothing yet has none.
        """
        imported = select(versions.c.version, versions.c.digest).where(versions.c.task.is_(None))
        with self._database.read() as connection:
            return frozenset(
                [f"task {id}" for id in connection.execute(select(tasks.c.id)).scalars()]
                + [f"key {id}" for id in connection.execute(select(keys.c.id)).scalars()]
                + [f"version {number} ({digest})" for number, digest in connection.execute(imported)]
            )

    def copy_to(self, url: str) -> None:
        """Make the tables at `url`, which has to hold nothing yet, and fill them in one transaction.

        Leases arrive as released, with the tokens that they had, so that a learner there may start at once and fences
        go on counting; requests that were in flight do not arrive.

        Raises:
            ValueError: a URL of another kind of database.
            Conflict: something is there, or someone is at work there; nothing was changed.
            Unavailable, StorageFull: nothing was changed.
        """
        target = Database(url, self._database.now)
        try:
            with target.write() as there:
                migrate(there)
                _check_empty(there, target.now())
                there.execute(delete(leases))
                with self._database.read() as here:
                    for table in metadata.sorted_tables:
                        _copy(table, here, there, self._database)
        finally:
            target.close()


def _check_empty(connection: Connection, now: datetime) -> None:
    if connection.execute(select(leases).where(leases.c.owner != "", leases.c.expires_at > now).limit(1)).first():
        raise Conflict("a server or a learner is running on this database")
    for table in metadata.sorted_tables:
        if table is not leases and connection.execute(select(table).limit(1)).first() is not None:
            raise Conflict(f"the database is not empty: there are {table.name}")


def _copy(table: Table, here: Connection, there: Connection, database: Database) -> None:
    query = select(table)
    if table is requests:
        query = query.where(requests.c.fingerprint.is_not(None))
    if table.name in FIRST:
        query = query.order_by(table.c[FIRST[table.name]])
    for rows in here.execute(query).mappings().partitions(ROWS_AT_ONCE):
        there.execute(insert(table), [_released(row, database) if table is leases else dict(row) for row in rows])


def _released(row: RowMapping, database: Database) -> dict[str, Any]:
    return {**row, "owner": "", "info": {}, "expires_at": database.now()}
