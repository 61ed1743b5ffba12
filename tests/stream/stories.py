"""Short ways to bring a ledger into a state, so that a test says only what it is about."""

import hashlib
from collections.abc import Sequence
from typing import Any

from stream.ledger import Lease, Ledger, Wanted
from stream.tasks import ItemDraft, NewTask, RequestedBase, Task, new_task_id
from stream.versions import Promotion, Version, VersionClass, VersionDraft, VersionKind


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def drafts(*labels: str, tag: str = "") -> list[ItemDraft]:
    """One picture for each label, all different."""
    return [
        ItemDraft(digest(f"bytes {tag}{place}"), label, 10, digest(f"pixels {tag}{place}"))
        for place, label in enumerate(labels)
    ]


def queued(
    ledger: Ledger, *labels: str, base: RequestedBase = None, promote: Any = None, tag: str | None = None
) -> Task:
    """A committed task with one picture for each label."""
    new = NewTask(new_task_id(), "ann", requested_base=base, promote=promote)
    pictures = drafts(*(labels or ("cat", "dog")), tag=tag or new.id)
    return ledger.add_batch(None, pictures, commit=True, new_task=new)


def learner(ledger: Ledger, owner: str = "learner-1", host: str = "here") -> Lease:
    lease = ledger.acquire_lease("learner", owner, host, 8.0)
    assert lease is not None
    return lease


def draft(kind: VersionKind, *labels: str, tag: str = "", reason: str | None = None) -> VersionDraft:
    return VersionDraft(
        kind=kind,
        digest=digest(f"manifest {kind} {labels} {tag}"),
        size_bytes=100,
        parts=(digest(f"backbone {tag}"), digest(f"head {kind} {labels} {tag}")),
        classes=tuple(VersionClass(label, "some-task", 1) for label in labels),
        reason=reason,
    )


def publish(
    ledger: Ledger,
    lease: Lease,
    task: Task,
    kind: VersionKind,
    labels: Sequence[str] = ("cat", "dog"),
    wanted: Wanted = "serve",
) -> tuple[Version, Promotion | None]:
    return ledger.publish(lease, task.id, draft(kind, *labels, tag=task.id), wanted=wanted)


def claimed(ledger: Ledger, lease: Lease, *labels: str, **wishes: Any) -> Task:
    """A task that the learner has just claimed."""
    queued(ledger, *labels, **wishes)
    task = ledger.claim(lease)
    assert task is not None
    return task


def learned(ledger: Ledger, lease: Lease, *labels: str, **wishes: Any) -> Task:
    """A task that went through to its end: a provisional, a final."""
    labels = labels or ("cat", "dog")
    task = claimed(ledger, lease, *labels, **wishes)
    ledger.freeze(lease, task.id, {"seed": 1}, {item.id: "train" for item in ledger.items(task.id)})
    publish(ledger, lease, task, "provisional", labels)
    publish(ledger, lease, task, "final", labels)
    return ledger.finish(lease, task.id)


def in_force(ledger: Ledger) -> int | None:
    serving = ledger.serving()
    return None if serving is None else serving.version
