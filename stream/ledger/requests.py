"""Idempotency keys: the same request twice is answered with the first one's resource (design, invariant 9)."""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from stream.errors import Conflict, InvalidContent, StreamError, Unavailable
from stream.ledger.database import Database
from stream.ledger.leases import owner_alive
from stream.ledger.schema import requests

KEPT_H = 72.0

MAX_KEY_CHARACTERS = 255
RETRY_AFTER_S = 1

MOST_NOT_RETURNED, RETURNED_AT_ONCE = 10_000, 100
"""Keys that wait for a database that does not answer; what is beyond goes with the service's lease."""


@dataclass(frozen=True)
class Ticket:
    """A request with an idempotency key. `scope` is the API key's id, `route` the method and path template.

    `fingerprint` stands for query, labels and image digests in order; it is known once the body has been read, and
    has to be by the time that a write takes the ticket.
    """

    key: str
    scope: str
    route: str
    fingerprint: str | None = None


@dataclass(frozen=True)
class Replay:
    """The first request with this key was answered with `resource_kind` (`task`, `version`, `promotion`) and id.

    Whoever asks compares the fingerprints: another one is other content under the same key.
    """

    fingerprint: str
    resource_kind: str
    resource_id: str


class Requests:
    """Begins and abandons requests; a write that is given the ticket completes it in its own transaction."""

    def __init__(self, database: Database, kept: timedelta) -> None:
        self._database = database
        self._kept = kept
        self._lock = threading.Lock()
        self._not_returned: deque[_Given] = deque(maxlen=MOST_NOT_RETURNED)

    def begin(self, ticket: Ticket, owner: str) -> Replay | None:
        """None: go on, the key is yours. A Replay: it was answered before.

        `owner` is the name of a lease of this process, or its owner: once that has run out, another may take the key.

        Raises:
            Conflict: the first request is still in flight; `retry_after_s` is set.
            InvalidContent: the key is empty, too long, or not plain ASCII.
        """
        if not (ticket.key.isascii() and ticket.key.isprintable() and 1 <= len(ticket.key) <= MAX_KEY_CHARACTERS):
            raise InvalidContent.of(
                "Idempotency-Key", f"a key has 1 to {MAX_KEY_CHARACTERS} printable ASCII characters"
            )
        now = self._database.now()
        try:
            return self._begin(ticket, owner, now)
        except Unavailable:
            # The database may have written the key down without being able to say so.
            with self._lock:
                self._not_returned.append(_Given(ticket, owner, now))
            raise

    def _begin(self, ticket: Ticket, owner: str, now: datetime) -> Replay | None:
        with self._write() as connection:
            connection.execute(delete(requests).where(requests.c.at < now - self._kept))
            row = connection.execute(select(requests).where(_named(ticket))).one_or_none()
            if row is None:
                connection.execute(
                    insert(requests).values(scope=ticket.scope, route=ticket.route, key=ticket.key, owner=owner, at=now)
                )
                return None
            if row.fingerprint is not None:
                return Replay(row.fingerprint, row.resource_kind, row.resource_id)
            if owner_alive(connection, row.owner, now):
                raise Conflict("the first request with this key is in flight", retry_after_s=RETRY_AFTER_S)
            connection.execute(update(requests).where(_named(ticket)).values(owner=owner, at=now))
        return None

    def abandon(self, ticket: Ticket) -> None:
        """Give the key back unused: a request that was refused uses up no key.

        Where the database does not take that now, `return_keys` or the next `begin` does it.
        """
        with self._lock:
            self._not_returned.append(_Given(ticket))
        with contextlib.suppress(StreamError), self._write():
            pass

    def return_keys(self) -> None:
        """Give back what could not be given back when its request ended. Raises Unavailable, StorageFull."""
        while self._not_returned:
            with self._write():
                pass

    @contextlib.contextmanager
    def _write(self) -> Iterator[Connection]:
        """A write in which keys that are still to be given back are, if it is not undone."""
        taken: list[_Given] = []
        try:
            with self._database.write() as connection:
                with self._lock:
                    taken = [
                        self._not_returned.popleft() for _ in range(min(RETURNED_AT_ONCE, len(self._not_returned)))
                    ]
                for given in taken:
                    connection.execute(delete(requests).where(given.row))
                yield connection
        except BaseException:
            with self._lock:
                self._not_returned.extendleft(reversed(taken))
            raise


@dataclass(frozen=True)
class _Given:
    """A key to be given back; with `owner` and `at`, only as it was written down then."""

    ticket: Ticket
    owner: str | None = None
    at: datetime | None = None

    @property
    def row(self) -> ColumnElement[bool]:
        mine = _in_flight(self.ticket)
        return mine if self.at is None else and_(mine, requests.c.owner == self.owner, requests.c.at == self.at)


def complete(connection: Connection, ticket: Ticket | None, kind: str, resource: str | int) -> None:
    """Within a write: the ticket's request came to this resource.

    Raises:
        Conflict: the request was taken over, after its owner had seemed dead, and completed by another.
    """
    if ticket is None:
        return
    if ticket.fingerprint is None:
        raise ValueError("a ticket needs its fingerprint before a write can take it")
    values = {"fingerprint": ticket.fingerprint, "resource_kind": kind, "resource_id": str(resource)}
    if connection.execute(update(requests).where(_in_flight(ticket)).values(**values)).rowcount == 0:
        raise Conflict("the request was completed elsewhere", retry_after_s=RETRY_AFTER_S)


def _named(ticket: Ticket) -> ColumnElement[bool]:
    return and_(requests.c.scope == ticket.scope, requests.c.route == ticket.route, requests.c.key == ticket.key)


def _in_flight(ticket: Ticket) -> ColumnElement[bool]:
    return and_(_named(ticket), requests.c.fingerprint.is_(None))
