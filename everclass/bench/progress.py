"""A chain that was stopped goes on at its last finished epoch: what is stored between two steps."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.snapshot import Snapshot
from model.training.tuning_state import TuningState
from stream.files import write

EPOCH, TASK, ABOUT = "epoch.safetensors", "task.json", "chain.json"

OTHER_CODE = "what was unfinished was made by other code or packages, and is begun anew"
ASKED_OTHERWISE = (
    "what is unfinished of {} was asked for otherwise and is left: the command that began it goes on with it"
)
DAMAGED = "what was unfinished is damaged, and is begun anew"
DAMAGED_EPOCH = "the checkpoint of the last epoch is damaged, and its task is begun anew"


@dataclass(frozen=True, eq=False)
class Reached:
    """After `tasks` whole tasks: a snapshot for each method of the chain, and what was scored so far."""

    tasks: int
    snapshots: Mapping[str, Snapshot]
    scores: Any


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Stage 1 of a task as it was after an epoch, and what the chain had taken by then: seconds and bytes by phase."""

    state: TuningState
    seconds: Mapping[str, float]
    peak_bytes: Mapping[str, int]


class ProgressFolder:
    """One chain's folder. Parts lie under their digests, so that methods which share a backbone share its file.

    `identity` says which chain it is and names the folder, `made_by` which code, packages and numbers lead it, both as
    plain JSON values. Each file is placed whole: a kill leaves the old one. What cannot be gone on from costs time
    alone, and `on_notice` is told of it.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        made_by: Mapping[str, Any],
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self._folder = folder / digest[:24]
        self._about = {"identity": identity, "made_by": made_by}
        self._on_notice = on_notice

    @property
    def begun(self) -> bool:
        """Whether something of this chain is there."""
        return self._folder.exists()

    def begin(self) -> None:
        """Makes the folder this chain's, to be called before all else; what lies there of other code, packages or
        numbers, or is damaged, is removed.

        Raises OSError where it cannot be.
        """
        if self.begun:
            trouble = self._trouble()
            if trouble is not None:
                _remove(self._folder)
                self._on_notice(trouble)
        write(self._folder / ABOUT, json.dumps(self._about).encode())

    def _trouble(self) -> str | None:
        try:
            return None if _about(self._folder) == self._about else OTHER_CODE
        except ValueError:
            return DAMAGED

    def last(self) -> Reached | None:
        """Where the chain stands; None before its first task is whole, and where what it left is damaged."""
        path = self._folder / TASK
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_bytes())
            snapshots = {name: self._snapshot(one) for name, one in found["snapshots"].items()}
            return Reached(found["tasks"], snapshots, found["scores"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            _empty(self._folder)
            self._on_notice(DAMAGED)
            return None

    def save(self, reached: Reached) -> None:
        """A task is whole; the epochs of it are no longer needed."""
        described = {name: self._stored(snapshot) for name, snapshot in reached.snapshots.items()}
        content = {"tasks": reached.tasks, "snapshots": described, "scores": reached.scores}
        write(self._folder / TASK, json.dumps(content).encode())
        (self._folder / EPOCH).unlink(missing_ok=True)
        self._drop_all_but({digest for one in described.values() for digest in one["parts"].values()})

    def epoch(self, task: int) -> Checkpoint | None:
        """The last checkpoint of stage 1 of this task (from 0), if it is of this task and whole."""
        path = self._folder / EPOCH
        if not path.exists():
            return None
        try:
            return _checkpoint(path.read_bytes(), task)
        except (ValueError, KeyError, TypeError):
            path.unlink()
            self._on_notice(DAMAGED_EPOCH)
            return None

    def save_epoch(self, task: int, checkpoint: Checkpoint) -> None:
        """A checkpoint of stage 1 of this task."""
        data = checkpoint.state.to_bytes()
        head = {
            "task": task,
            "seconds": dict(checkpoint.seconds),
            "peak_bytes": dict(checkpoint.peak_bytes),
            "sha256": _digest(data),
        }
        write(self._folder / EPOCH, json.dumps(head).encode() + b"\n" + data)

    def remove(self) -> None:
        """The chain is done."""
        _remove(self._folder)

    def _stored(self, snapshot: Snapshot) -> dict[str, Any]:
        digests = {}
        for role, data in snapshot.to_parts().items():
            digests[role] = _digest(data)
            path = self._folder / digests[role]
            if not path.exists():
                write(path, data)
        return {"parts": digests, "description": snapshot.describe()}

    def _snapshot(self, stored: Mapping[str, Any]) -> Snapshot:
        parts = {role: (self._folder / digest).read_bytes() for role, digest in stored["parts"].items()}
        if any(_digest(data) != stored["parts"][role] for role, data in parts.items()):
            raise ValueError("a part is not what its name says")
        return Snapshot.from_parts(parts, stored["description"])

    def _drop_all_but(self, digests: set[str]) -> None:
        for path in self._folder.iterdir():
            if path.name not in digests | {TASK, EPOCH, ABOUT}:
                path.unlink()


def clear(folder: Path, is_done: Callable[[Mapping[str, Any]], bool]) -> None:
    """Removes what lies in `folder` of chains that are done, by the `identity` and `made_by` that they were begun with.

    A kill, or another request that did the same and more, may have left it. What older code left says neither, and like
    what is damaged stays until its chain is begun anew. Raises OSError.
    """
    for place, about in left_in(folder):
        if is_done(about):
            _remove(place)


def left_in(folder: Path) -> Iterator[tuple[Path, Any]]:
    """Each unfinished chain's place in `folder`, and the `identity` and `made_by` that it was begun with; none of what
    is damaged or was left by older code. Raises OSError.
    """
    for place in list(folder.iterdir()) if folder.is_dir() else ():
        try:
            about = _about(place)
        except ValueError:
            continue
        if about is not None:
            yield place, about


def _checkpoint(content: bytes, task: int) -> Checkpoint | None:
    line, _, data = content.partition(b"\n")
    head = json.loads(line)
    if head["sha256"] != _digest(data):
        raise ValueError("the state is not what its digest says")
    if head["task"] != task:
        return None
    return Checkpoint(TuningState.from_bytes(data), head["seconds"], head["peak_bytes"])


def _remove(folder: Path) -> None:
    """What it says of itself goes last, so that a kill leaves nothing that nobody knows."""
    _empty(folder)
    shutil.rmtree(folder)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != ABOUT:
            path.unlink()


def _about(folder: Path) -> Any:
    """What a chain's folder says of itself; None where older code made it, which says nothing. Raises ValueError."""
    path = folder / ABOUT
    return json.loads(path.read_bytes()) if path.is_file() else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
