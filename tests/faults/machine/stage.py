"""The real ledger, blobs and intake, opened and dropped as by processes that come and go.

What clients do are methods of the stage, so that they may also be done from farther away; what the learner does it does
to the ledger.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stream.blobs import FolderBlobs
from stream.intake import Intake
from stream.ledger import Lease, Ledger, Quota
from stream.manifest import Manifest, Part, store_version
from stream.retention import Policy, sweep
from stream.tasks import NewTask, Promote, RequestedBase, Task
from stream.versions import SERVING, Expected, VersionClass, VersionDraft, VersionKind
from tests import digits
from tests.faults.invariants import DAYS_LATER
from tests.stream.conftest import Clock

ROOMY = Quota(queued_tasks=10_000, open_tasks=10_000)
TTL_S = 8.0
MORE = 50
"""Which picture of a digit is sent after the first ones."""
POLICY = Policy(keep=3, task_days=1.0, grace_s=0.0)


@dataclass
class Stage:
    """One data folder and its database; `owner` counts the learners that there have been."""

    url: str
    folder: Path
    clock: Clock = field(default_factory=Clock)
    host: str = "here"
    owner: int = 0

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """As a new process does."""
        self.ledger = Ledger.open(self.url, clock=self.clock, quota=ROOMY)
        self.blobs = FolderBlobs(self.folder / "blobs")
        self.intake = Intake(self.ledger, self.blobs, self.folder / "incoming")

    def close(self) -> None:
        """Let go of everything."""
        self.intake.close()
        self.ledger.close()

    def send(self, pictures: Sequence[int], *, base: RequestedBase, promote: Promote | None, commit: bool) -> Task:
        """A new task with these digits."""
        with self.intake.staging() as staging:
            for place, digit in enumerate(pictures):
                staging.add(f"images[{place}]", str(digit), None, digits.pngs(digit)[place])
            new = NewTask(staging.task_id, "ann", requested_base=base, promote=promote)
            return staging.accept(new_task=new, commit=commit)

    def append(self, task_id: str, digit: int) -> None:
        """One more picture for an open task."""
        with self.intake.staging(task_id) as staging:
            staging.add("images[0]", str(digit), None, digits.pngs(digit)[MORE])
            staging.accept(commit=False)

    def commit(self, task_id: str) -> None:
        """Close an open task."""
        self.ledger.commit_task(task_id)

    def cancel(self, task_id: str) -> None:
        """Give up a task that is not finished."""
        self.ledger.cancel(task_id, by="ann")

    def retry(self, task_id: str) -> None:
        """Back into the queue."""
        self.ledger.retry(task_id)

    def purge(self, task_id: str) -> None:
        """Let go of the images of a task that was given up."""
        self.ledger.purge_images(task_id)

    def forget(self, label: str, *, purge: bool) -> Task:
        """A task that makes a version without the class."""
        return self.ledger.forget(label, by="ann", purge=purge)

    def promote(self, alias: str, version: int, expected: Expected | None = None) -> None:
        """Point an alias at a version."""
        self.ledger.move_alias(alias, version, by="ann", expected=expected)

    def roll_back(self, *, version: int | None = None, task: str | None = None) -> None:
        """As `POST /rollback` does."""
        self.promote(SERVING, self.ledger.rollback_target(version=version, task=task))

    def delete(self, version: int) -> None:
        """Delete a version that nothing needs."""
        self.ledger.delete_version(version)

    def learner(self) -> Lease:
        """A new learner's lease; the last one's has run out or was given back."""
        self.owner += 1
        lease = self.ledger.acquire_lease("learner", f"learner {self.owner}", self.host, TTL_S)
        assert lease is not None
        return lease

    def stored(self, task: Task, kind: VersionKind, content: str) -> VersionDraft:
        """A version's files, durable; it does not exist yet."""
        known = set() if task.base is None else set(self.ledger.version(task.base).labels)
        labels = known - set(task.labels) if task.kind == "forget" else known | set(task.labels)
        parts = {"head": f"{task.id} {kind} {content}".encode(), "backbone": f"{task.base}".encode()}
        manifest = Manifest(
            kind=kind,
            task=task.id,
            lineage=(task.id,),
            classes=tuple(VersionClass(label, task.id, 1) for label in sorted(labels)),
            description={},
            parts={role: Part.of(data) for role, data in parts.items()},
        )
        store_version(self.blobs, manifest, parts)
        named = tuple(part.sha256 for part in manifest.parts.values())
        return VersionDraft(kind, manifest.digest, manifest.size_bytes, named, manifest.classes)

    def sweep(self, lease: Lease) -> tuple[int, ...]:
        """As retention does: the numbers of the versions that went."""
        later = self.clock() + DAYS_LATER
        return sweep(self.ledger, self.blobs, lease, POLICY, now=later).versions

    def save_checkpoint(self, lease: Lease, task: Task, content: str) -> None:
        """What the learner would go on from."""
        data = content.encode()
        key = f"checkpoints/{task.id}/{hashlib.sha256(data).hexdigest()}"
        self.blobs.put_bytes(key, data)
        self.ledger.save_checkpoint(lease, task.id, key, {})
