"""Versions put straight into a ledger, as a learner would: for what a whole learn would be too much."""

import socket

from service.assembly import Assembly
from stream.ledger import Lease
from stream.manifest import Manifest, Part, load_manifest, load_parts, store_version
from stream.tasks import NewTask, Task
from stream.versions import Version, VersionDraft
from tests import digits


def learning(assembly: Assembly) -> tuple[Lease, Task]:
    """A task that a learner has just claimed; its base is the version in force."""
    with assembly.intake.staging() as staging:
        staging.add("images[0]", "9", None, digits.pngs(9)[0])
        staging.accept(new_task=NewTask(staging.task_id, "test"))
    lease = assembly.ledger.acquire_lease("learner", "a learner", socket.gethostname(), 60)
    assert lease is not None
    task = assembly.ledger.claim(lease)
    assert task is not None
    return lease, task


def publish(assembly: Assembly, lease: Lease, task: Task, like: int, **changes: bytes) -> Version:
    """Serve a provisional version of the task, with the parts of an older one but for `changes` (by role)."""
    old = load_manifest(assembly.blobs, assembly.ledger.version(like).digest)
    parts = load_parts(assembly.blobs, old, old.parts) | changes
    named = {role: Part.of(data) for role, data in parts.items()}
    manifest = Manifest(
        kind="provisional",
        task=task.id,
        lineage=(*old.lineage, task.id),
        classes=old.classes,
        description=old.description,
        parts=named,
    )
    store_version(assembly.blobs, manifest, parts)
    draft = VersionDraft(
        kind="provisional",
        digest=manifest.digest,
        size_bytes=manifest.size_bytes,
        parts=tuple(part.sha256 for part in named.values()),
        classes=manifest.classes,
    )
    version, promotion = assembly.ledger.publish(lease, task.id, draft, wanted="serve")
    assert promotion is not None
    return version
