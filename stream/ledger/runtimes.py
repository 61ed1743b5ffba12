"""Graphs that were exported, and which runtime serves them on which type of machine."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, select, update

from stream.ledger.database import Database
from stream.ledger.leases import Lease, fenced_insert, fenced_update
from stream.ledger.schema import graphs, runtime_choices


class Runtimes:
    """Remembers graphs by their key and choices by key and machine type."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def graph(self, key: str) -> str | None:
        """The SHA-256 of the part that holds the graph; None where it was not exported yet."""
        with self._database.read() as connection:
            return connection.execute(select(graphs.c.digest).where(graphs.c.key == key)).scalar()

    def graph_digests(self) -> frozenset[str]:
        """The parts that hold the graphs."""
        with self._database.read() as connection:
            return frozenset(connection.execute(select(graphs.c.digest)).scalars())

    def record_graph(self, lease: Lease, key: str, digest: str) -> None:
        """The graph lies in this part. Raises LeaseLost."""
        with self._database.write() as connection:
            _put(connection, lease, graphs, {"key": key}, {"digest": digest, "at": self._database.now()})

    def runtime_choice(self, graph_key: str, machine: str) -> dict[str, Any] | None:
        """What was chosen, and why; None where nothing was decided yet."""
        mine = (runtime_choices.c.graph_key == graph_key) & (runtime_choices.c.machine == machine)
        with self._database.read() as connection:
            return connection.execute(select(runtime_choices.c.choice).where(mine)).scalar()

    def record_runtime_choice(self, lease: Lease, graph_key: str, machine: str, choice: Mapping[str, Any]) -> None:
        """Remember the choice; a later one replaces it. Raises LeaseLost."""
        named = {"graph_key": graph_key, "machine": machine}
        with self._database.write() as connection:
            _put(connection, lease, runtime_choices, named, {"choice": dict(choice), "at": self._database.now()})


def _put(
    connection: Connection, lease: Lease, table: Table, named: Mapping[str, str], values: Mapping[str, Any]
) -> None:
    statement = update(table).where(*(table.c[name] == value for name, value in named.items())).values(**values)
    if fenced_update(connection, lease, statement) == 0:
        fenced_insert(connection, lease, table, {**named, **values})
