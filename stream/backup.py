"""A folder that holds all that a server knows, as of one moment, and a server made of such a folder.

DIR/ledger.db        the database, in SQLite whatever it was copied from
DIR/blobs/…          every blob that it names, under its key
DIR/backup.json      written last: what the folder holds, with digests; without it the folder is no backup

Blobs never change under their key, so that the database is copied first and its blobs afterwards; what was swept in
between is named by a newer copy of the database no more.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.exc import DatabaseError

from stream import files
from stream.blobs import BlobInfo, Blobs, FolderBlobs
from stream.errors import Conflict, DamagedBlob, NoLedger, NotFound
from stream.ledger import Ledger
from stream.manifest import manifest_key, part_key

LEDGER = "ledger.db"
BLOBS = "blobs"
CONTENTS = "backup.json"
PREFIXES = ("parts/", "manifests/", "tasks/", "checkpoints/")
TRIES = 3
"""How often the database is copied anew because blobs that it named were swept meanwhile."""

OnBlob = Callable[[int, int], None]


class NoBackup(Exception):
    """The folder is no finished backup, or not what it was; the text says what is wrong."""


class Contents(BaseModel):
    """What a backup holds. `missing` are blobs that the database names and that could not be had whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    made_at: datetime
    database_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    blobs: tuple[str, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Copied:
    """What a backup or a restore came to; `fresh` of the blobs were not there before."""

    blobs: int
    fresh: int
    size_bytes: int
    missing: tuple[str, ...] = ()


def back_up(ledger: Ledger, blobs: Blobs, folder: Path, *, on_blob: OnBlob = lambda done, all: None) -> Copied:
    """Make `folder` a backup of the server, which may run meanwhile; every byte is checked against its digest.

    A folder that holds an earlier backup of it gets what is new and loses what is needed no more. `on_blob` is told
    how many blobs of how many are done.

    Raises:
        NoBackup: the folder holds something else, or a backup of which nobody can tell whose it is; it stays so.
        Conflict: it holds the backup of another server, or of more than this server knows; it stays so.
        StorageFull, Unavailable: the folder is no backup until the next one is finished.
    """
    _check_place(folder)
    files.make_folder(folder)
    _check_whose(ledger, folder)
    (folder / CONTENTS).unlink(missing_ok=True)
    files.flush_folder(folder)
    store = _Store(blobs, FolderBlobs(folder / BLOBS))
    for _ in range(TRIES):
        wanted = _copy_ledger(ledger, folder / LEDGER)
        if not (missing := store.take(wanted, on_blob)):
            break
    store.drop_all_but(wanted)
    contents = Contents(
        made_at=datetime.now(UTC),
        database_sha256=_digest(folder / LEDGER),
        blobs=tuple(sorted(set(wanted) - set(missing))),
        missing=tuple(missing),
    )
    files.write(folder / CONTENTS, contents.model_dump_json(indent=1).encode())
    return Copied(len(contents.blobs), store.fresh, store.size_bytes, contents.missing)


def restore(folder: Path, database: str, blobs: Blobs, *, on_blob: OnBlob = lambda done, all: None) -> Copied:
    """Put a backup where nothing is yet: blobs first, the database last, so that half a restore is done again.

    Every byte is checked against its digest. An older release's backup arrives in today's schema.

    Raises:
        NoBackup: the folder is no finished backup, or a file of it is missing or damaged.
        Conflict: the database or the blobs hold something already.
        StorageFull, Unavailable: the database is as it was.
    """
    contents = _read_contents(folder)
    target = Ledger.open(database)
    try:
        target.check_empty()
    finally:
        target.close()
    store = FolderBlobs(folder / BLOBS)
    known = set(contents.blobs)
    for prefix in PREFIXES:
        if any(blob.key not in known for blob in blobs.list(prefix)):
            raise Conflict(f"there are other {prefix.rstrip('/')} among the blobs already")
    with tempfile.TemporaryDirectory() as place:
        ledger = _opened_copy(folder / LEDGER, Path(place), contents)
        try:
            size_bytes = 0
            for done, key in enumerate(contents.blobs, start=1):
                size_bytes += _put(store, blobs, key)
                on_blob(done, len(known))
            ledger.copy_to(database)
        finally:
            ledger.close()
    return Copied(len(known), len(known), size_bytes, contents.missing)


class _Store:
    """The blobs of a backup, filled from those of a server."""

    def __init__(self, source: Blobs, target: FolderBlobs) -> None:
        self._source, self._target = source, target
        self._whole: set[str] = set()
        self.fresh = 0
        self.size_bytes = 0

    def take(self, wanted: list[str], on_blob: OnBlob) -> list[str]:
        """Have all of these whole; those that cannot be had."""
        missing = []
        for done, key in enumerate(wanted, start=1):
            if key not in self._whole and not self._take_one(key):
                missing.append(key)
            on_blob(done, len(wanted))
        return missing

    def drop_all_but(self, wanted: list[str]) -> None:
        """Delete what an earlier backup left and this one does not name."""
        needed = set(wanted)
        for blob in list(_all_blobs(self._target)):
            if blob.key not in needed:
                self._target.delete(blob.key)

    def _take_one(self, key: str) -> bool:
        try:
            data = self._target.get(key)
        except (NotFound, DamagedBlob):
            try:
                data = self._source.get(key)
            except (NotFound, DamagedBlob):
                return False
            self._target.put_bytes(key, data)
            self.fresh += 1
        self._whole.add(key)
        self.size_bytes += len(data)
        return True


def _check_place(folder: Path) -> None:
    if not folder.is_dir():
        return
    for unfinished in folder.glob(f".{LEDGER}.*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    known = {LEDGER, BLOBS, CONTENTS}
    strange = sorted(entry.name for entry in folder.iterdir() if entry.name not in known and entry.name[0] != ".")
    if strange:
        raise NoBackup(f"{folder} holds something else than a backup: {strange[0]}")


def _check_whose(ledger: Ledger, folder: Path) -> None:
    """Raises where what the folder's backup knows would be lost: this server has to know all of it."""
    if not (folder / LEDGER).is_file():
        if (folder / BLOBS).is_dir() and any(True for _ in _all_blobs(FolderBlobs(folder / BLOBS))):
            raise NoBackup(f"{folder} holds blobs, but no {LEDGER} that would say whose they are")
        return
    contents = _read_contents(folder) if (folder / CONTENTS).is_file() else None
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{LEDGER}.") as place:
        earlier = _opened_copy(folder / LEDGER, Path(place), contents)
        try:
            lost = sorted(earlier.history() - ledger.history())
        finally:
            earlier.close()
    if lost:
        raise Conflict(
            f"{folder} is a backup of another server, or of a later state of this one: it knows {lost[0]}, this server "
            "does not; each server needs a folder of its own"
        )


def _copy_ledger(ledger: Ledger, path: Path) -> list[str]:
    """The keys of all blobs that the copy names."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{LEDGER}.") as place:
        fresh = Path(place) / LEDGER
        ledger.copy_to(f"sqlite:///{fresh}")
        copy = Ledger.open(f"sqlite:///{fresh}")
        try:
            wanted = _named(copy)
        finally:
            copy.close()
        files.flush_file(fresh)
        fresh.replace(path)
    files.flush_folder(path.parent)
    return wanted


def _all_blobs(blobs: Blobs) -> Iterator[BlobInfo]:
    return chain.from_iterable(blobs.list(prefix) for prefix in PREFIXES)


def _named(ledger: Ledger) -> list[str]:
    named = ledger.references()
    keys = {part_key(digest) for digest in named.parts} | {manifest_key(digest) for digest in named.manifests}
    return sorted(keys | named.checkpoints | ledger.all_image_keys())


def _read_contents(folder: Path) -> Contents:
    try:
        return Contents.model_validate_json((folder / CONTENTS).read_bytes())
    except FileNotFoundError:
        raise NoBackup(f"{folder} is no finished backup: there is no {CONTENTS}") from None
    except ValidationError as error:
        raise NoBackup(f"{folder / CONTENTS} is damaged: {error.error_count()} errors") from error


def _opened_copy(path: Path, place: Path, contents: Contents | None) -> Ledger:
    """The backup's database; a copy of it, since opening it may bring it up to date.

    Without `contents` the backup was never finished, and its database is whole if it opens.
    """
    if not path.is_file() or (contents is not None and _digest(path) != contents.database_sha256):
        raise NoBackup(f"{path} is missing or damaged")
    copy = place / LEDGER
    copy.write_bytes(path.read_bytes())
    try:
        return Ledger.open(f"sqlite:///{copy}", make=False)
    except (DatabaseError, NoLedger, ValueError) as error:
        raise NoBackup(f"{path} is missing or damaged") from error


def _put(store: FolderBlobs, target: Blobs, key: str) -> int:
    try:
        data = store.get(key)
    except (NotFound, DamagedBlob) as error:
        raise NoBackup(f"the backup is damaged: {error}") from error
    target.put_bytes(key, data)
    return len(data)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
