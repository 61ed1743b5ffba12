"""The audit log: who changed what, and who was refused. Entries are added and grow old; none is ever changed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, delete, func, insert, select

from stream.keys import AuditEntry
from stream.ledger.database import Database
from stream.ledger.pages import Page, page_of_rows
from stream.ledger.schema import audit
from stream.ledger.words import made_shown

MOST_CHARACTERS = 300


class Audit:
    """Appends to the log and reads it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, entries: Sequence[AuditEntry]) -> None:
        """Append the entries in their order."""
        with self._database.write() as connection:
            last = connection.execute(select(func.max(audit.c.seq))).scalar() or 0
            rows = [vars(replace(_fitted(entry), seq=last + 1 + place)) for place, entry in enumerate(entries)]
            if rows:
                connection.execute(insert(audit), rows)

    def page(self, cursor: str | None = None, limit: int = 100) -> Page[AuditEntry]:
        """Entries, newest first."""
        with self._database.read() as connection:
            rows, following = page_of_rows(connection, select(audit), audit.c.seq, cursor, limit)
            return Page(tuple(_value(row) for row in rows), following)

    def forget(self, days: float) -> int:
        """Delete entries older than `days`, the newest excepted so that numbers go on: how many."""
        limit = self._database.now() - timedelta(days=days)
        with self._database.write() as connection:
            last = connection.execute(select(func.max(audit.c.seq))).scalar() or 0
            return connection.execute(delete(audit).where(audit.c.at < limit, audit.c.seq < last)).rowcount


def _fitted(entry: AuditEntry) -> AuditEntry:
    """The entry with texts that can be kept and shown as they are: some of them come from whoever was refused."""
    return replace(
        entry,
        route=_short(entry.route) or "",
        method=_short(entry.method) or "",
        object=_short(entry.object),
        remote=_short(entry.remote),
    )


def _short(text: str | None) -> str | None:
    return None if text is None else (made_shown(text) or "")[:MOST_CHARACTERS]


def _value(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        at=row.at,
        key=row.key,
        name=row.name,
        route=row.route,
        method=row.method,
        status=row.status,
        object=row.object,
        remote=row.remote,
        times=row.times,
        seq=row.seq,
    )
