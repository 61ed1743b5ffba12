"""The keys as this worker knows them: looked up in memory, read again from the ledger when one is made or revoked."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from service.access.admin_file import NAME
from service.access.caller import NOBODY, Caller
from service.access.rates import Bucket
from service.problems import Problem, busy
from stream.keys import NOBODYS_DIGEST, Key, Scope, digest_of, id_of, same
from stream.ledger import Ledger

CHALLENGE = 'Bearer realm="everclass"'


@dataclass(frozen=True)
class Held:
    """A key of the ledger, what it stands for, and its bucket."""

    key: Key
    caller: Caller
    bucket: Bucket | None


@dataclass(frozen=True)
class Keys:
    """All keys at one moment; `changes` is the ledger's number of that moment."""

    changes: int = 0
    by_id: Mapping[str, Held] = field(default_factory=dict)


class KeyRing:
    """Recognises tokens. A request costs no call to the database: uses are noted in memory and written later."""

    def __init__(self, ledger: Ledger, admin_digest: str | None) -> None:
        self._ledger = ledger
        self._admin_digest = admin_digest
        self._admin = None if admin_digest is None else Caller(f"file-{admin_digest[:12]}", NAME, Scope.ADMIN)
        self._keys = Keys()
        self._used: dict[str, datetime] = {}
        self._using = threading.Lock()

    @property
    def asks_for_keys(self) -> bool:
        """Whether there is or ever was a key: revoking the last one opens nothing."""
        return self._admin is not None or bool(self._keys.by_id)

    def refresh(self) -> None:
        """Read the keys again if one was made or revoked. Raises StreamError, and goes on with those that it has."""
        changes = self._ledger.key_changes()
        if changes != self._keys.changes:
            before = self._keys.by_id
            self._keys = Keys(changes, {key.id: _held(key, before.get(key.id)) for key in self._ledger.all_keys()})

    def recognise(self, token: str) -> Caller:
        """Who shows this token, of whose rate one request is taken.

        Raises Problem: 401 for an unknown, revoked or expired key, 429 beyond its rate.
        """
        held = self._keys.by_id.get(id_of(token) or "")
        digest = digest_of(token)
        # Both are compared, whatever the first comes to, so that the time tells nothing.
        is_held = same(digest, NOBODYS_DIGEST if held is None else held.key.digest)
        is_admin = same(digest, self._admin_digest or NOBODYS_DIGEST)
        if self._admin is not None and is_admin:
            return self._admin
        if held is None or not is_held:
            raise unauthorised("this key is not known", wrong=True)
        return self._checked(held)

    def known(self, token: str) -> Caller | None:
        """Whose token this is, of use or not: for the log of what was refused."""
        held = self._keys.by_id.get(id_of(token) or "")
        return held.caller if held is not None and same(digest_of(token), held.key.digest) else None

    def still_good(self, caller: Caller) -> bool:
        """Whether who was let in would be let in now: for what goes on for long after that."""
        if caller == NOBODY:
            return not self.asks_for_keys
        held = self._keys.by_id.get(caller.id)
        return held is None or held.key.ended(datetime.now(UTC)) is None

    def write_uses(self) -> None:
        """Tell the ledger when keys were used since the last time. Raises StreamError, and keeps them for the next."""
        with self._using:
            used, self._used = self._used, {}
        if not used:
            return
        try:
            self._ledger.note_key_uses(used)
        except BaseException:
            with self._using:
                self._used = used | self._used
            raise

    def _checked(self, held: Held) -> Caller:
        now = datetime.now(UTC)
        if (why := held.key.ended(now)) is not None:
            raise unauthorised(f"this key {why}", wrong=True)
        if held.bucket is not None and (wait_s := held.bucket.wait_s(time.monotonic())):
            raise busy(f"the rate of the key {held.key.name} is {held.key.rate:g} requests a second", wait_s)
        with self._using:
            self._used[held.key.id] = now
        return held.caller


def unauthorised(detail: str, *, wrong: bool) -> Problem:
    """Problem 401: no key where one is needed, or a `wrong` one (RFC 6750)."""
    error = ', error="invalid_token"' if wrong else ""
    return Problem(401, detail, headers={"WWW-Authenticate": CHALLENGE + error})


def lacking(caller: Caller, needs: Scope) -> Problem:
    """Problem 403: the key is good, but not for this call."""
    challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{needs}"'
    detail = f"this call needs a key of scope {needs}; {caller.name} has {caller.scope}"
    return Problem(403, detail, headers={"WWW-Authenticate": challenge})


def _held(key: Key, before: Held | None) -> Held:
    """A key that is read again keeps its bucket, so that a change of another key refills nothing."""
    if key.rate is None:
        bucket = None
    else:
        bucket = before.bucket if before is not None and before.bucket is not None else Bucket(key.rate)
    return Held(key, Caller.of(key), bucket)
