"""API keys: what one may do, how one looks, and what is kept of it. The secret itself is never stored."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

PREFIX = "evc"
ID_BYTES = 6
SECRET_BYTES = 32
"""256 random bits: no one guesses them, so a plain SHA-256 is enough to keep."""

TOKEN = re.compile(rf"{PREFIX}_([0-9a-f]{{{2 * ID_BYTES}}})_[A-Za-z0-9_-]{{43}}")
NOBODYS_DIGEST = hashlib.sha256(b"").hexdigest()
"""No token has it; what is compared where there is no such key, so that this takes as long."""


class Scope(StrEnum):
    """What a key may do; each includes those before it."""

    PREDICT = "predict"
    LEARN = "learn"
    ADMIN = "admin"

    def includes(self, other: "Scope") -> bool:
        """Whether who has this may do what asks for `other`."""
        ranks = list(Scope)
        return ranks.index(self) >= ranks.index(other)


@dataclass(frozen=True)
class NewKey:
    """A key to be made. `rate`: requests a second; `images_per_day`: images to learn from in any 24 hours."""

    name: str
    scope: Scope
    expires_at: datetime | None = None
    rate: float | None = None
    images_per_day: int | None = None


@dataclass(frozen=True)
class Key:
    """A key as it is kept; `digest` is the SHA-256 of its token in hex."""

    id: str
    name: str
    scope: Scope
    digest: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    rate: float | None
    images_per_day: int | None

    def ended(self, now: datetime) -> str | None:
        """Why the key is of no use any more (`was revoked`, `has expired`); None while it is."""
        if self.revoked_at is not None:
            return "was revoked"
        return "has expired" if self.expires_at is not None and self.expires_at <= now else None


@dataclass(frozen=True)
class Sender:
    """Who sends images to learn from, for the quota of its key."""

    key: str
    name: str
    images_per_day: int | None = None


@dataclass(frozen=True)
class AuditEntry:
    """Something that was done or refused. `seq` counts the log, `times` how often it happened alike.

    `key` and `name` are null where no known key was shown; `route` is the path's template, `object` what it was about.
    """

    at: datetime
    key: str | None
    name: str | None
    route: str
    method: str
    status: int
    object: str | None = None
    remote: str | None = None
    times: int = 1
    seq: int | None = None


def new_token() -> tuple[str, str]:
    """A fresh key's id, and the token that is shown once."""
    key_id = secrets.token_hex(ID_BYTES)
    return key_id, f"{PREFIX}_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"


def id_of(token: str) -> str | None:
    """The id that a token carries; None where it is no token of ours."""
    found = TOKEN.fullmatch(token)
    return None if found is None else found[1]


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def same(digest: str, other: str) -> bool:
    """Whether two digests are equal, in a time that does not tell how much of them is."""
    return hmac.compare_digest(digest.encode(), other.encode())
