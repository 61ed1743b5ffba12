"""What may go, goes: versions that nothing needs, images that were learned from, blobs that nothing names."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from stream.blobs import BlobInfo, Blobs
from stream.failpoints import reach
from stream.ledger import Lease, Ledger

SHARED = ("parts/", "manifests/")
OF_TASKS = ("tasks/", "checkpoints/")


@dataclass(frozen=True)
class Policy:
    """How long things stay.

    `keep` counts final versions (None: all), `task_days` is for images of tasks that came to nothing, `grace_s` for
    blobs that nothing names, since what names them may be about to be written.
    """

    keep: int | None = None
    task_days: float = 30.0
    grace_s: float = 24 * 3600.0


@dataclass(frozen=True)
class Swept:
    """What one sweep removed: versions by number, images, all blobs, and their bytes."""

    versions: tuple[int, ...]
    images: int
    blobs: int
    size_bytes: int


def sweep(ledger: Ledger, blobs: Blobs, lease: Lease, policy: Policy, *, now: datetime | None = None) -> Swept:
    """One round, by whoever holds the learner's lease; what a crash leaves undone is done by the next.

    The ledger lets go first and the bytes go afterwards, so that nothing ever names bytes that are gone.

    Raises:
        LeaseLost: another learner sweeps now.
        Unavailable: the rest stays for the next round.
    """
    versions = ledger.sweep_versions(lease, policy.keep)
    images = ledger.sweep_images(lease, policy.task_days)
    reach("sweep.marked")
    for key in images:
        blobs.delete(key)
    oldest = (now or datetime.now(UTC)) - timedelta(seconds=policy.grace_s)
    gone = [*clear_unnamed(ledger, blobs, lease, oldest), *_clear_unnamed_of_tasks(ledger, blobs, oldest)]
    return Swept(tuple(versions), len(images), len(images) + len(gone), sum(blob.size_bytes for blob in gone))


def clear_unnamed(ledger: Ledger, blobs: Blobs, lease: Lease, oldest: datetime) -> list[BlobInfo]:
    """Delete parts and manifests that nothing names and that were neither written nor renewed since `oldest`.

    Whoever is about to name one meanwhile finds it gone inside the write that would name it, and stores it anew.
    What names a blob is read after the blobs were listed.

    Raises:
        LeaseLost: another learner is at work; what it stores stays.
    """
    for prefix in SHARED:
        blobs.clear_half_written(prefix, oldest)
    old = [blob for prefix in SHARED for blob in blobs.list(prefix) if blob.modified_at < oldest]
    named = ledger.references()
    needed = named.shared_keys
    gone = []
    for blob in old:
        if blob.key in needed:
            continue
        with ledger.naming_halted(lease, named) as named_since:
            if blob.key not in named_since and delete_if_still_old(blobs, blob.key, oldest):
                gone.append(blob)
    return gone


def _clear_unnamed_of_tasks(ledger: Ledger, blobs: Blobs, oldest: datetime) -> list[BlobInfo]:
    """The same for checkpoints, which the learner alone names, and for images of tasks that take none any more."""
    for prefix in OF_TASKS:
        blobs.clear_half_written(prefix, oldest)
    checkpoints = ledger.references().checkpoints
    still_open = ledger.open_tasks()
    gone = []
    for prefix in OF_TASKS:
        for task_id, some in groupby(blobs.list(prefix), key=lambda blob: blob.key.split("/")[1]):
            old = [blob for blob in some if blob.modified_at < oldest]
            if not old or task_id in still_open:
                continue
            needed = ledger.image_keys(task_id) | checkpoints
            gone += [blob for blob in old if blob.key not in needed and delete_if_still_old(blobs, blob.key, oldest)]
    return gone


def delete_if_still_old(blobs: Blobs, key: str, oldest: datetime) -> bool:
    """Delete the blob unless it was written or renewed since, as whoever needs it does before the ledger names it."""
    now = blobs.info(key)
    if now is None or now.modified_at >= oldest:
        return False
    blobs.delete(key)
    return True
