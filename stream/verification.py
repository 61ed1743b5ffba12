"""Is everything that the ledger names there, and is it what was written? Every byte is read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from stream.blobs import Blobs
from stream.errors import Conflict, DamagedBlob, NotFound
from stream.ledger import Ledger
from stream.manifest import Manifest, load_manifest, manifest_key, part_key
from stream.tasks import UNFINISHED, Task
from stream.versions import FILES_DAMAGED, Version, VersionState

Fault = Literal["missing", "damaged", "disagrees"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with the blob `key`; `owner` is what names it (`version 3`, `task …`)."""

    fault: Fault
    key: str
    owner: str


@dataclass(frozen=True)
class Verified:
    """What was looked at, what is wrong, and which versions were marked as damaged or are whole again."""

    blobs: int
    size_bytes: int
    findings: tuple[Finding, ...]
    damaged: tuple[int, ...]
    healed: tuple[int, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify(
    ledger: Ledger, blobs: Blobs, *, mark: bool = True, on_blob: Callable[[str], None] = lambda key: None
) -> Verified:
    """Read every blob that a living version, a graph, a checkpoint or a task's images name, and check it.

    With `mark`, versions whose files are at fault are marked as damaged (who has one loaded goes on), and those that
    were marked so before and are whole now are held again. What is deleted meanwhile is no fault. `on_blob` is told of
    each blob before it is read.

    Raises Unavailable where the database or the blobs do not answer.
    """
    reader = _Reader(blobs, on_blob)
    findings: list[Finding] = []
    damaged, healed = [], []
    for version in sorted(_versions(ledger), key=lambda version: version.version):
        wrong = _of_version(reader, version)
        if wrong and _still_there(ledger, version.version):
            findings += wrong
        if mark and _is_marked(version) and not wrong:
            healed.append(ledger.heal(version.version).version)
        if mark and wrong and version.state != VersionState.DAMAGED and _marked(ledger, version.version, wrong):
            damaged.append(version.version)
    findings += _of_graphs(reader, ledger)
    for task in _tasks(ledger):
        findings += _of_task(reader, ledger, task)
    return Verified(reader.count, reader.size_bytes, tuple(findings), tuple(damaged), tuple(healed))


class _Reader:
    """Reads each blob once, however many name it."""

    def __init__(self, blobs: Blobs, on_blob: Callable[[str], None]) -> None:
        self.blobs = blobs
        self.count = 0
        self.size_bytes = 0
        self._on_blob = on_blob
        self._known: dict[str, Fault | None] = {}

    def fault(self, key: str) -> Fault | None:
        """What is wrong with the blob; None where its bytes are what the key promises."""
        if key not in self._known:
            self._on_blob(key)
            self._known[key] = self._read(key)
        return self._known[key]

    def _read(self, key: str) -> Fault | None:
        try:
            self.size_bytes += len(self.blobs.get(key))
        except NotFound:
            return "missing"
        except DamagedBlob:
            return "damaged"
        finally:
            self.count += 1
        return None


def _of_version(reader: _Reader, version: Version) -> list[Finding]:
    owner, key = f"version {version.version}", manifest_key(version.digest)
    fault = reader.fault(key)
    if fault is not None:
        return [Finding(fault, key, owner)]
    try:
        manifest = load_manifest(reader.blobs, version.digest)
    except (NotFound, DamagedBlob):
        return [Finding("damaged", key, owner)]
    if manifest.digest != version.digest or not _agree(manifest, version):
        return [Finding("disagrees", key, owner)]
    parts = sorted(part.key for part in manifest.parts.values())
    return [Finding(fault, part, owner) for part in parts if (fault := reader.fault(part)) is not None]


def _agree(manifest: Manifest, version: Version) -> bool:
    """Whether manifest and ledger tell of the same classes."""
    return [one.label for one in manifest.classes] == list(version.labels)


def _of_graphs(reader: _Reader, ledger: Ledger) -> Iterator[Finding]:
    for digest in sorted(ledger.graph_digests()):
        key = part_key(digest)
        if (fault := reader.fault(key)) is not None:
            yield Finding(fault, key, "a graph")


def _of_task(reader: _Reader, ledger: Ledger, task: Task) -> Iterator[Finding]:
    """Images that are still needed, and the checkpoint. Both may go while they are read."""
    keys = set(ledger.image_keys(task.id))
    checkpoint = ledger.checkpoint(task.id) if task.state in UNFINISHED else None
    wanted = keys if checkpoint is None else keys | {checkpoint.key}
    for key in sorted(wanted):
        fault = reader.fault(key)
        if fault is not None and _still_named(ledger, task, key):
            yield Finding(fault, key, f"task {task.id}")


def _still_named(ledger: Ledger, task: Task, key: str) -> bool:
    checkpoint = ledger.checkpoint(task.id)
    return key in ledger.image_keys(task.id) or (checkpoint is not None and checkpoint.key == key)


def _still_there(ledger: Ledger, number: int) -> bool:
    return ledger.version(number).state != VersionState.DELETED


def _is_marked(version: Version) -> bool:
    return version.state == VersionState.DAMAGED and (version.reason or "").startswith(FILES_DAMAGED)


def _marked(ledger: Ledger, number: int, wrong: list[Finding]) -> bool:
    try:
        ledger.mark_damaged(number, ", ".join(f"{one.key} is {one.fault}" for one in wrong))
    except Conflict:
        return False
    return True


def _versions(ledger: Ledger) -> Iterator[Version]:
    cursor: str | None = None
    while True:
        page = ledger.versions(cursor)
        yield from (version for version in page.items if version.state != VersionState.DELETED)
        if page.next is None:
            return
        cursor = page.next


def _tasks(ledger: Ledger) -> Iterator[Task]:
    cursor: str | None = None
    while True:
        page = ledger.tasks(cursor)
        yield from page.items
        if page.next is None:
            return
        cursor = page.next
