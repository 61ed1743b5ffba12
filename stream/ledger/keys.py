"""API keys in the database: made, listed, revoked; and how many images each has brought to learn from."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from stream.errors import Conflict, InvalidContent, NotFound, QuotaFull, TooLarge
from stream.keys import Key, NewKey, Scope, Sender, digest_of, new_token
from stream.ledger.database import Database
from stream.ledger.schema import batches, keys
from stream.ledger.words import storable

MAX_NAME_CHARACTERS = 100
RESERVED_NAMES = frozenset({"local", "learner", "everclass", "admin file"})
"""Names under which something else than a key stands in the logs."""

DAY = timedelta(hours=24)


class Keys:
    """Makes, reads and revokes keys. A row is never deleted: the logs name it, and a server with keys stays closed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, new: NewKey) -> tuple[Key, str]:
        """The key, and the token that is shown this once.

        Raises:
            InvalidContent: the name is empty, too long or taken by the server, a quota is not positive.
            Conflict: a key of this name is in use.
        """
        _check(new)
        key_id, token = new_token()
        now = self._database.now()
        with self._database.write() as connection:
            if any(key.ended(now) is None for key in _named(connection, new.name)):
                raise Conflict(f"a key called {new.name} is in use: revoke it or choose another name", field="name")
            values = {**vars(new), "id": key_id, "digest": digest_of(token), "created_at": now}
            connection.execute(insert(keys).values(**values, changed=_next_change(connection)))
            return _by_id(connection, key_id), token

    def all(self) -> tuple[Key, ...]:
        """Every key, oldest first, those that are of no use any more among them."""
        with self._database.read() as connection:
            return _values(connection, keys.c.id.is_not(None))

    def changes(self) -> int:
        """A number that grows with every key that is made or revoked; 0 before the first."""
        with self._database.read() as connection:
            return connection.execute(select(func.max(keys.c.changed))).scalar() or 0

    def revoke(self, key: str) -> Key:
        """Revoke the key with this id, or else the one in use with this name. Doing so again changes nothing.

        Raises:
            NotFound: there is none.
        """
        now = self._database.now()
        with self._database.write() as connection:
            found = _values(connection, keys.c.id == key) or [
                one for one in _named(connection, key) if one.ended(now) is None
            ]
            if not found:
                raise NotFound("key", key)
            if found[0].revoked_at is None:
                change = {"revoked_at": now, "changed": _next_change(connection)}
                connection.execute(update(keys).where(keys.c.id == found[0].id).values(**change))
            return _by_id(connection, found[0].id)

    def note_uses(self, uses: Mapping[str, datetime]) -> None:
        """Note when keys, by id, were last used; a later note stays."""
        with self._database.write() as connection:
            for key_id, at in uses.items():
                earlier = keys.c.last_used_at.is_(None) | (keys.c.last_used_at < at)
                connection.execute(update(keys).where(keys.c.id == key_id, earlier).values(last_used_at=at))

    def check_images(self, sender: Sender) -> None:
        """Before an upload is read: has the key images left today? Raises QuotaFull."""
        with self._database.read() as connection:
            check_images(connection, sender, 1, self._database.now())


def check_images(connection: Connection, sender: Sender, images: int, now: datetime) -> None:
    """Whether the sender may bring so many images now.

    Raises:
        TooLarge: more than it may in a day. QuotaFull: more than are left of the last 24 hours.
    """
    most = sender.images_per_day
    if most is None:
        return
    if images > most:
        raise TooLarge(f"{images} images are more than the {most} that the key {sender.name} may send in a day")
    mine = (batches.c.key == sender.key) & (batches.c.at > now - DAY)
    query = select(batches.c.images, batches.c.at).where(mine).order_by(batches.c.at)
    brought = [(row.images, row.at) for row in connection.execute(query)]
    left = most - sum(count for count, _ in brought)
    if images <= left:
        return
    raise QuotaFull(
        f"the quota of the key {sender.name} is {most} images in 24 hours, of which {max(left, 0)} are left",
        retry_after_s=_seconds_until(brought, images - left, now),
    )


def _seconds_until(brought: Sequence[tuple[int, datetime]], needed: int, now: datetime) -> int:
    """Until so many of the images that were brought are a day old."""
    gone = accumulate(count for count, _ in brought)
    at = next(at for (_, at), count in zip(brought, gone, strict=True) if count >= needed)
    return int((at + DAY - now).total_seconds()) + 1


def _check(new: NewKey) -> None:
    storable(new.name, "name")
    if not 0 < len(new.name) <= MAX_NAME_CHARACTERS or not new.name.isprintable() or new.name != new.name.strip():
        raise InvalidContent.of("name", f"a name has 1 to {MAX_NAME_CHARACTERS} printable characters")
    if new.name in RESERVED_NAMES:
        raise InvalidContent.of("name", f"{new.name} stands for something else in the logs")
    if new.rate is not None and not 0 < new.rate < float("inf"):
        raise InvalidContent.of("rate", "a rate is a number above 0")
    if new.images_per_day is not None and not 0 < new.images_per_day < 2**31:
        raise InvalidContent.of("images_per_day", "a quota is a whole number above 0")


def _next_change(connection: Connection) -> int:
    return (connection.execute(select(func.max(keys.c.changed))).scalar() or 0) + 1


def _named(connection: Connection, name: str) -> tuple[Key, ...]:
    return _values(connection, keys.c.name == name)


def _by_id(connection: Connection, key_id: str) -> Key:
    [key] = _values(connection, keys.c.id == key_id)
    return key


def _values(connection: Connection, which: ColumnElement[bool]) -> tuple[Key, ...]:
    rows = connection.execute(select(keys).where(which).order_by(keys.c.created_at, keys.c.id))
    return tuple(_value(row) for row in rows)


def _value(row: Row[Any]) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        scope=Scope(row.scope),
        digest=row.digest,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        rate=row.rate,
        images_per_day=row.images_per_day,
    )
