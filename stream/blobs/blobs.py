"""The interface of a blob store, and the grammar of its keys."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from stream.errors import DamagedBlob

Content = bytes | Path

KEY = re.compile(r"[a-z]+(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class BlobInfo:
    """A blob without its bytes; `modified_at` is when it was last written or touched."""

    key: str
    size_bytes: int
    modified_at: datetime


class Blobs(Protocol):
    """Bytes by key: `tasks/<id>/<sha256>`, `checkpoints/<id>/<sha256>`, `parts/<sha256>`, `manifests/<sha256>`.

    A blob is there whole or not at all, and durable once the call that wrote it returns. A key that ends in a
    SHA-256 is checked against its bytes on reading. Every method may be called from any thread.
    """

    @property
    def one_machine(self) -> bool:
        """Whether only processes on this machine see the blobs."""
        ...

    def put_bytes(self, key: str, data: bytes) -> None:
        """Write one blob. Raises StorageFull, Unavailable."""
        ...

    def put_file(self, key: str, path: Path) -> None:
        """Write one blob from a file, which is gone afterwards. Raises StorageFull, Unavailable."""
        ...

    def put_many(self, pairs: Iterable[tuple[str, Content]]) -> None:
        """Write many blobs, faster than one by one; files given as content are gone afterwards.

        Raises StorageFull or Unavailable; some of the blobs may then be there, each whole.
        """
        ...

    def get(self, key: str, *, verify: bool = True) -> bytes:
        """The bytes. Raises NotFound, DamagedBlob, Unavailable."""
        ...

    def path(self, key: str) -> Path:
        """A file with the bytes, only to be read. Raises NotFound, DamagedBlob, Unavailable."""
        ...

    def info(self, key: str) -> BlobInfo | None:
        """Size and age; None where there is no such blob."""
        ...

    def exists(self, key: str) -> bool:
        """Whether the blob is there."""
        ...

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Every blob whose key starts with `prefix`, ordered by key; the prefix ends at a slash."""
        ...

    def delete(self, key: str) -> None:
        """Remove the blob; nothing happens where there is none."""
        ...

    def touch(self, keys: Iterable[str]) -> None:
        """Renew the grace time of blobs that are there already. Raises NotFound."""
        ...

    def clear_half_written(self, prefix: str, oldest: datetime) -> int:
        """Remove what writers that were killed before `oldest` left below the prefix, which is no blob: how many."""
        ...


def check_key(key: str) -> str:
    """The key itself, if it is one: so that no key leads out of the store."""
    if not KEY.fullmatch(key):
        raise ValueError(f"not a blob key: {key!r}")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself: one or more whole segments of a key and a slash."""
    if not prefix.endswith("/"):
        raise ValueError(f"a prefix ends at a slash: {prefix!r}")
    check_key(f"{prefix}x")
    return prefix


def promised_digest(key: str) -> str | None:
    """The SHA-256 that the key says its bytes have; None where it says nothing."""
    name = key.rpartition("/")[2]
    return name if SHA256.fullmatch(name) else None


def check_bytes(key: str, data: bytes) -> bytes:
    """The data itself, if it is what the key promises. Raises DamagedBlob."""
    promised = promised_digest(key)
    if promised is not None and hashlib.sha256(data).hexdigest() != promised:
        raise DamagedBlob(key)
    return data


def check_file(key: str, path: Path) -> Path:
    """As `check_bytes`, for a file, which is not read into memory at once."""
    promised = promised_digest(key)
    if promised is not None:
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != promised:
                raise DamagedBlob(key)
    return path
