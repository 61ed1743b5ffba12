"""What may go, goes: versions that nothing needs, images that were learned from, blobs that nothing names."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from stream.blobs import BlobInfo, Blobs
from stream.failpoints import reach
from stream.ledger import Lease, Ledger
from stream.manifest import manifest_key, part_key


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
    blobs.clear_half_written(oldest)
    gone = [blob for blob in _unnamed(ledger, blobs, oldest) if delete_if_still_old(blobs, blob.key, oldest)]
    return Swept(tuple(versions), len(images), len(images) + len(gone), sum(blob.size_bytes for blob in gone))


def _unnamed(ledger: Ledger, blobs: Blobs, oldest: datetime) -> Iterator[BlobInfo]:
    """Blobs past their grace that nothing names. What names a blob is read after the blobs were listed."""
    shared = [blob for prefix in ("parts/", "manifests/") for blob in blobs.list(prefix) if blob.modified_at < oldest]
    named = ledger.references()
    needed = {part_key(digest) for digest in named.parts} | {manifest_key(digest) for digest in named.manifests}
    yield from (blob for blob in shared if blob.key not in needed)
    yield from _unnamed_of_tasks(ledger, blobs, named.checkpoints, oldest)


def _unnamed_of_tasks(
    ledger: Ledger, blobs: Blobs, checkpoints: frozenset[str], oldest: datetime
) -> Iterator[BlobInfo]:
    for prefix in ("tasks/", "checkpoints/"):
        for task_id, some in groupby(blobs.list(prefix), key=lambda blob: blob.key.split("/")[1]):
            old = [blob for blob in some if blob.modified_at < oldest]
            needed = (ledger.image_keys(task_id) | checkpoints) if old else checkpoints
            yield from (blob for blob in old if blob.key not in needed)


def delete_if_still_old(blobs: Blobs, key: str, oldest: datetime) -> bool:
    """Delete the blob unless it was written or renewed since, as whoever needs it does before the ledger names it."""
    now = blobs.info(key)
    if now is None or now.modified_at >= oldest:
        return False
    blobs.delete(key)
    return True
