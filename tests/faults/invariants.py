"""What must hold on a data folder whatever happened to the processes that worked on it (design, invariants 1 to 3)."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from stream.blobs import FolderBlobs
from stream.errors import StreamError
from stream.ledger import Ledger
from stream.ledger.database import utc_now
from stream.ledger.pages import Page
from stream.manifest import load_manifest, load_parts, manifest_key, part_key
from stream.retention import Policy, sweep
from stream.tasks import TaskState
from stream.versions import SERVING, VersionState

Row = TypeVar("Row")

DAYS_LATER = timedelta(days=2)


@contextmanager
def opened(
    folder: Path, later: timedelta = timedelta(0), database: str | None = None
) -> Iterator[tuple[Ledger, FolderBlobs]]:
    """Ledger and blobs of a data folder that nobody else has to be done with; `database` where it is not in there."""
    ledger = Ledger.open(database or f"sqlite:///{folder / 'everclass.db'}", clock=lambda: utc_now() + later)
    try:
        yield ledger, FolderBlobs(folder / "blobs")
    finally:
        ledger.close()


def broken(
    folder: Path, accepted: Sequence[object], promoted: Sequence[object], database: str | None = None
) -> list[str]:
    """Every invariant that does not hold; `accepted` are tasks that got a 202, `promoted` moves that were answered."""
    with opened(folder, database=database) as (ledger, blobs):
        return [
            *_tasks(ledger, blobs, accepted),
            *_versions(ledger, blobs),
            *_log(ledger, promoted),
        ]


def left_over(folder: Path) -> list[str]:
    """What is among the blobs after a sweep two days later, though nothing names it."""
    with opened(folder, DAYS_LATER) as (ledger, blobs):
        lease = ledger.acquire_lease("learner", "invariants", "", 60)
        assert lease is not None
        sweep(ledger, blobs, lease, Policy(), now=datetime.now(UTC) + DAYS_LATER)
        named = ledger.references()
        needed = {part_key(digest) for digest in named.parts} | {manifest_key(digest) for digest in named.manifests}
        for task in every(ledger.tasks):
            needed |= ledger.image_keys(task.id)
        there = {path.relative_to(blobs.root).as_posix() for path in blobs.root.rglob("*") if path.is_file()}
        return sorted(there - needed - named.checkpoints)


def final_parts(folder: Path, labels: set[str]) -> list[dict[str, str]]:
    """The digests of the parts of each final version made by tasks of these labels."""
    with opened(folder) as (ledger, blobs):
        return [
            {role: part.sha256 for role, part in load_manifest(blobs, version.digest).parts.items()}
            for task in every(ledger.tasks)
            for version in map(ledger.version, task.versions)
            if set(task.labels) == labels and version.kind == "final"
        ]


def every(pages: Callable[[str | None, int], Page[Row]]) -> list[Row]:
    """All there is, newest first, page by page."""
    rows: list[Row] = []
    cursor = None
    while True:
        page = pages(cursor, 1000)
        rows += page.items
        if page.next is None:
            return rows
        cursor = page.next


def _tasks(ledger: Ledger, blobs: FolderBlobs, accepted: Sequence[object]) -> Iterator[str]:
    tasks = {task.id: task for task in every(ledger.tasks)}
    yield from (f"task {lost} got a 202 and is lost" for lost in accepted if lost not in tasks)
    for task in tasks.values():
        if task.state == TaskState.DONE:
            if not any(ledger.version(number).kind == "final" for number in task.versions):
                yield f"task {task.id} is done without a version"
            continue
        for item in ledger.items(task.id):
            if not item.purged and not _whole(blobs, item.key(task.id)):
                yield f"task {task.id} is {task.state} and image {item.id} is not there"
    for task_id, key in ((task.id, ledger.checkpoint(task.id)) for task in tasks.values()):
        if key is not None and not _whole(blobs, key.key):
            yield f"the checkpoint of task {task_id} is not there"


def _versions(ledger: Ledger, blobs: FolderBlobs) -> Iterator[str]:
    for version in every(ledger.versions):
        if version.state in (VersionState.DELETED, VersionState.DAMAGED):
            continue
        try:
            manifest = load_manifest(blobs, version.digest)
            load_parts(blobs, manifest, manifest.parts)
        except StreamError as error:
            yield f"version {version.version} is {version.state}: {error}"
    for prefix in ("parts/", "manifests/"):
        for blob in blobs.list(prefix):
            if not _whole(blobs, blob.key):
                yield f"{blob.key} is listed and half-written"


def _log(ledger: Ledger, promoted: Sequence[object]) -> Iterator[str]:
    log = sorted(every(ledger.promotions), key=lambda move: move.seq)
    if [move.seq for move in log] != list(range(1, len(log) + 1)):
        yield "the log of promotions has a gap"
    serving = [move for move in log if move.alias == SERVING]
    yield from (f"promotion {b.seq} does not follow {a.seq}" for a, b in pairwise(serving) if b.previous != a.version)
    if serving and ledger.aliases().get(SERVING) != serving[-1].version:
        yield "serving is not where the log ends"
    written = {(move.seq, move.version, move.previous) for move in log}
    for move in promoted:
        assert isinstance(move, dict)
        if (move["seq"], move["version"], move["previous"]) not in written:
            yield f"promotion {move['seq']} was acknowledged and is not in the log"


def _whole(blobs: FolderBlobs, key: str) -> bool:
    try:
        return hashlib.sha256(blobs.get(key)).hexdigest() == key.rpartition("/")[2]
    except StreamError:
        return False
