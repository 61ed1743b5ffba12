"""What a process does on a disk until it is killed; what was acknowledged goes into a diary.

`python -m tests.faults.disk.scenes` is a stage: for each line of JSON on stdin (scene, folder, diary, environment and
orders to failpoints) it forks a process that plays the scene, and answers with its exit status.
"""

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stream import failpoints
from stream.blobs import FolderBlobs
from stream.errors import StreamError
from stream.intake import Intake
from stream.ledger import Ledger
from stream.manifest import Manifest, Part, store_version
from stream.tasks import NewTask, Phase, Task
from stream.versions import VersionClass, VersionDraft, VersionKind
from tests.digits import labelled
from tests.faults.diary import Diary

Scene = Callable[[Path, Diary], None]

CHECKPOINT = "checkpoints/{task}/{digest}"


@contextmanager
def opened(folder: Path) -> Iterator[Intake]:
    """Ledger, blobs and intake of the folder."""
    ledger = Ledger.open(f"sqlite:///{folder / 'everclass.db'}")
    intake = Intake(ledger, FolderBlobs(folder / "blobs"), folder / "incoming")
    yield intake
    intake.close()
    ledger.close()


def arrive(folder: Path, diary: Diary) -> None:
    """Two batches come in, the second one after everything was closed and opened again."""
    for digit in (1, 2):
        with opened(folder) as intake:
            diary.note("accepted", _send(intake, digit).id)
    os.kill(os.getpid(), signal.SIGKILL)


def publish(folder: Path, diary: Diary) -> None:
    """A batch is learned: two checkpoints, a provisional and a final version, a rollback."""
    with opened(folder) as intake:
        ledger, blobs = intake.ledger, intake.blobs
        diary.note("accepted", _send(intake, 3).id)
        lease = ledger.acquire_lease("learner", "scene", socket.gethostname(), 60)
        assert lease is not None
        task = ledger.claim(lease)
        assert task is not None
        ledger.report(lease, task.id, Phase.TRAINING, 0.1, None)
        for kind in ("provisional", "final"):
            state = f"state before the {kind} version".encode()
            key = CHECKPOINT.format(task=task.id, digest=Part.of(state).sha256)
            blobs.put_bytes(key, state)
            before = ledger.save_checkpoint(lease, task.id, key, {})
            if before is not None:
                blobs.delete(before)
            manifest, parts = _version(task, kind)
            store_version(blobs, manifest, parts)
            digests = tuple(part.sha256 for part in manifest.parts.values())
            draft = VersionDraft(kind, manifest.digest, manifest.size_bytes, digests, manifest.classes)
            _, promotion = ledger.publish(lease, task.id, draft, wanted="serve")
            assert promotion is not None
            diary.note("promoted", {"seq": promotion.seq, "version": promotion.version, "previous": promotion.previous})
        back = ledger.move_alias("serving", 1, by="scene")
        diary.note("promoted", {"seq": back.seq, "version": 1, "previous": 2})
        os.kill(os.getpid(), signal.SIGKILL)


def _send(intake: Intake, digit: int) -> Task:
    with intake.staging() as staging:
        for number, (data, label) in enumerate(labelled(digit, count=4)):
            staging.add(f"images[{number}]", label, None, data)
        return staging.accept(new_task=NewTask(staging.task_id, "scene"))


def _version(task: Task, kind: VersionKind) -> tuple[Manifest, dict[str, bytes]]:
    parts = {"backbone": b"backbone", "head": f"{kind} head".encode()}
    classes = tuple(VersionClass(label, task.id, 1) for label in task.labels)
    named = {role: Part.of(data) for role, data in parts.items()}
    return Manifest(kind=kind, task=task.id, lineage=(task.id,), classes=classes, description={}, parts=named), parts


def perform(scenes: dict[str, Scene]) -> None:
    """Play what is asked for on stdin, each scene in a fork of this process."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _play(scenes, **json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _play(
    scenes: dict[str, Scene], scene: str, folder: str, diary: str, environment: dict[str, str], orders: str
) -> None:
    """Does not return: the process ends with the scene."""
    status = 1
    try:
        os.environ.update(environment)
        failpoints.arm(orders)
        scenes[scene](Path(folder), Diary(Path(diary)))
        status = 0
    except StreamError as error:
        Diary(Path(diary)).note("refused", type(error).__name__)
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    perform({"arrive": arrive, "publish": publish})
