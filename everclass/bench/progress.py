"""A chain that was stopped goes on at its last finished epoch: what is stored between two steps."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.snapshot import Snapshot
from model.training.tuning_state import TuningState
from stream.files import write

EPOCH, TASK, ABOUT = "epoch.safetensors", "task.json", "chain.json"


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

    `identity` says which chain it is and names the folder, `made_by` which code and numbers lead it, both as plain JSON
    values. Each file is placed whole: a kill leaves the old one.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], made_by: Mapping[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self._folder = folder / digest[:24]
        self._about = {"identity": identity, "made_by": made_by}

    def begin(self) -> bool:
        """Makes the folder this chain's, to be called before all else; whether what lay there was of other code or
        numbers, and is gone.

        Raises OSError where it cannot be removed.
        """
        strange = self._folder.exists() and _about(self._folder) != self._about
        if strange:
            _remove(self._folder)
        write(self._folder / ABOUT, json.dumps(self._about).encode())
        return strange

    def last(self) -> Reached | None:
        """Where the chain stands; None before its first task is whole."""
        path = self._folder / TASK
        if not path.exists():
            return None
        found = json.loads(path.read_text())
        snapshots = {name: self._snapshot(one) for name, one in found["snapshots"].items()}
        return Reached(found["tasks"], snapshots, found["scores"])

    def save(self, reached: Reached) -> None:
        """A task is whole; the epochs of it are no longer needed."""
        described = {name: self._stored(snapshot) for name, snapshot in reached.snapshots.items()}
        content = {"tasks": reached.tasks, "snapshots": described, "scores": reached.scores}
        write(self._folder / TASK, json.dumps(content).encode())
        (self._folder / EPOCH).unlink(missing_ok=True)
        self._drop_all_but({digest for one in described.values() for digest in one["parts"].values()})

    def epoch(self, task: int) -> Checkpoint | None:
        """The last checkpoint of stage 1 of this task (from 0), if it is of this task."""
        path = self._folder / EPOCH
        if not path.exists():
            return None
        line, _, data = path.read_bytes().partition(b"\n")
        head = json.loads(line)
        if head["task"] != task:
            return None
        return Checkpoint(TuningState.from_bytes(data), head["seconds"], head["peak_bytes"])

    def save_epoch(self, task: int, checkpoint: Checkpoint) -> None:
        """A checkpoint of stage 1 of this task."""
        head = {"task": task, "seconds": dict(checkpoint.seconds), "peak_bytes": dict(checkpoint.peak_bytes)}
        write(self._folder / EPOCH, json.dumps(head).encode() + b"\n" + checkpoint.state.to_bytes())

    def remove(self) -> None:
        """The chain is done."""
        _remove(self._folder)

    def _stored(self, snapshot: Snapshot) -> dict[str, Any]:
        digests = {}
        for role, data in snapshot.to_parts().items():
            digests[role] = hashlib.sha256(data).hexdigest()
            path = self._folder / digests[role]
            if not path.exists():
                write(path, data)
        return {"parts": digests, "description": snapshot.describe()}

    def _snapshot(self, stored: Mapping[str, Any]) -> Snapshot:
        parts = {role: (self._folder / digest).read_bytes() for role, digest in stored["parts"].items()}
        return Snapshot.from_parts(parts, stored["description"])

    def _drop_all_but(self, digests: set[str]) -> None:
        for path in self._folder.iterdir():
            if path.name not in digests | {TASK, EPOCH, ABOUT}:
                path.unlink()


def clear(folder: Path, is_done: Callable[[Mapping[str, Any]], bool]) -> None:
    """Removes what lies in `folder` of chains that are done, by the `identity` and `made_by` that they were begun with.

    A kill, or another request that did the same and more, may have left it. What older code left says neither, and
    stays until its chain is begun anew. Raises OSError.
    """
    for place in list(folder.iterdir()) if folder.is_dir() else ():
        about = _about(place)
        if about is not None and is_done(about):
            _remove(place)


def _remove(folder: Path) -> None:
    """What it says of itself goes last, so that a kill leaves nothing that nobody knows."""
    for path in folder.iterdir():
        if path.name != ABOUT:
            path.unlink()
    shutil.rmtree(folder)


def _about(folder: Path) -> Any:
    """What a chain's folder says of itself; None where older code made it, which says nothing."""
    path = folder / ABOUT
    return json.loads(path.read_text()) if path.is_file() else None
