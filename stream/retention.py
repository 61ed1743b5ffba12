"""What may go, goes: versions that nothing needs, images that were learned from, blobs that nothing names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from stream.alone import alone_with_store
from stream.blobs import BlobInfo, Blobs
from stream.failpoints import reach
from stream.ledger import Lease, Ledger

SHARED = ("parts/", "manifests/")
IMAGES, CHECKPOINTS = "tasks/", "checkpoints/"

IMAGES_GRACE_S = 3600.0
"""Images that no task names stay so long, however short the grace time is: a request stores all of its images before
the ledger hears of them, and is answered 202 once it has.
"""


@dataclass(frozen=True)
class Policy:
    """How long things stay.

    `keep` counts final versions (None: all), `task_days` is for images of tasks that came to nothing, `grace_s` for
    blobs that nothing names, since what names them may be about to be written; images have at least `IMAGES_GRACE_S`.
    """

    keep: int | None = None
    task_days: float = 30.0
    grace_s: float = 24 * 3600.0


@dataclass(frozen=True)
class Swept:
    """What one sweep removed: versions by number, images, all blobs, and the bytes of those that nothing named."""

    versions: tuple[int, ...]
    images: int
    blobs: int
    size_bytes: int


def sweep(
    ledger: Ledger,
    blobs: Blobs,
    lease: Lease,
    policy: Policy,
    *,
    now: datetime | None = None,
    check: Callable[[], None] = lambda: None,
) -> Swept:
    """One round, by whoever holds the learner's lease; what a crash leaves undone is done by the next.

    The ledger lets go first and the bytes go afterwards, so that nothing ever names bytes that are gone. `check` is
    called all along and may raise to stop.

    Raises:
        LeaseLost: another learner sweeps now.
        Unavailable: the rest stays for the next round.
    """
    versions = ledger.sweep_versions(lease, policy.keep)
    images = ledger.sweep_images(lease, policy.task_days)
    reach("sweep.marked")
    for key in images:
        check()
        blobs.delete(key)
    now = now or datetime.now(UTC)
    oldest = now - timedelta(seconds=policy.grace_s)
    with alone_with_store(ledger, lease.owner, lease.host) as alone:
        parts = [] if alone is None else clear_unnamed(ledger, blobs, lease, alone, oldest, check=check)
    oldest_of_tasks = {IMAGES: min(oldest, now - timedelta(seconds=IMAGES_GRACE_S)), CHECKPOINTS: oldest}
    gone = [*parts, *_clear_unnamed_of_tasks(ledger, blobs, oldest_of_tasks, check)]
    return Swept(tuple(versions), len(images), len(images) + len(gone), sum(blob.size_bytes for blob in gone))


def clear_unnamed(
    ledger: Ledger,
    blobs: Blobs,
    lease: Lease,
    alone: Lease,
    oldest: datetime | None = None,
    *,
    check: Callable[[], None] = lambda: None,
) -> list[BlobInfo]:
    """Delete parts and manifests that nothing names, and that are older than `oldest` if it is given.

    What names a blob is read after the blobs were listed; the learner, whose lease is shown, stores nothing meanwhile,
    and nobody else does while the store is held `alone`. `check` is called between blobs and may raise to stop.

    Raises:
        LeaseLost: another is at work; what he stores stays.
    """
    for prefix in SHARED:
        blobs.clear_half_written(prefix, oldest or datetime.now(UTC))
    old = [blob for prefix in SHARED for blob in blobs.list(prefix) if oldest is None or blob.modified_at < oldest]
    needed = ledger.references().shared_keys
    gone = []
    for blob in old:
        if blob.key in needed:
            continue
        check()
        for held in (lease, alone):
            ledger.check_lease(held)
        if oldest is None:
            blobs.delete(blob.key)
        elif not delete_if_still_old(blobs, blob.key, oldest):
            continue
        gone.append(blob)
    return gone


def clear_checkpoints(ledger: Ledger, blobs: Blobs, lease: Lease) -> None:
    """Delete every checkpoint that no task goes on from, however young; for the learner, who alone writes them.

    Raises:
        LeaseLost: another learner is at work; what it stores stays.
    """
    found = list(blobs.list(CHECKPOINTS))
    needed = ledger.references().checkpoints
    for blob in found:
        if blob.key not in needed:
            ledger.check_lease(lease)
            blobs.delete(blob.key)


def _clear_unnamed_of_tasks(
    ledger: Ledger, blobs: Blobs, oldest_by_prefix: Mapping[str, datetime], check: Callable[[], None]
) -> list[BlobInfo]:
    """Images, of tasks that take none any more, and checkpoints that nothing names: old ones, and whatever its age what
    the ledger let go of, where a sweep was cut short before the bytes went.
    """
    for prefix, oldest in oldest_by_prefix.items():
        blobs.clear_half_written(prefix, oldest)
    checkpoints = ledger.references().checkpoints
    still_open = ledger.open_tasks()
    gone = []
    for prefix, oldest in oldest_by_prefix.items():
        for task_id, some in groupby(blobs.list(prefix), key=lambda blob: blob.key.split("/")[1]):
            check()
            if task_id in still_open:
                continue
            needed = ledger.image_keys(task_id) | checkpoints
            let_go = ledger.image_keys(task_id, purged=True)
            for blob in some:
                if blob.key in needed:
                    continue
                if blob.key in let_go:
                    blobs.delete(blob.key)
                    gone.append(blob)
                elif blob.modified_at < oldest and delete_if_still_old(blobs, blob.key, oldest):
                    gone.append(blob)
    return gone


def delete_if_still_old(blobs: Blobs, key: str, oldest: datetime) -> bool:
    """Delete the blob unless it was written or renewed since, as whoever needs it does before the ledger names it."""
    now = blobs.info(key)
    if now is None or now.modified_at >= oldest:
        return False
    blobs.delete(key)
    return True
