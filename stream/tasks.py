"""A task: labelled images that are learned as one step, from the first upload to the last version it made."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

Split = Literal["train", "held_out"]
Promote = Literal["auto", "manual"]
TaskKind = Literal["learn", "forget"]
RequestedBase = int | Literal["none"] | None
"""A version to build on, `none` for a new root, None for the version in force at the claim."""


class TaskState(StrEnum):
    """Where a task stands.

    open ──▶ queued ──▶ learning ──▶ done
      │       ▲ │ ▲        │  │
      │       │ │ └────────┘  │        handed back by a learner that stops
      │       │ ▼             ▼
      └───▶ cancelled · failed         both may be tried again: back to queued
    """

    OPEN = "open"
    QUEUED = "queued"
    LEARNING = "learning"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether nothing happens to the task unless someone asks for it."""
        return self not in UNFINISHED

    def may_become(self, other: "TaskState") -> bool:
        """Whether the life of a task goes from this state straight to `other`."""
        return other in TRANSITIONS[self]


TRANSITIONS: Mapping[TaskState, frozenset[TaskState]] = {
    TaskState.OPEN: frozenset({TaskState.QUEUED, TaskState.CANCELLED}),
    TaskState.QUEUED: frozenset({TaskState.LEARNING, TaskState.CANCELLED, TaskState.FAILED}),
    TaskState.LEARNING: frozenset({TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED, TaskState.QUEUED}),
    TaskState.DONE: frozenset(),
    TaskState.FAILED: frozenset({TaskState.QUEUED}),
    TaskState.CANCELLED: frozenset({TaskState.QUEUED}),
}

UNFINISHED = frozenset({TaskState.OPEN, TaskState.QUEUED, TaskState.LEARNING})


class Phase(StrEnum):
    """What the learner is doing with a task, in the order in which it does it."""

    FEATURES = "features"
    PROVISIONAL = "provisional"
    TRAINING = "training"
    STATISTICS = "statistics"
    ALIGNMENT = "alignment"
    EVALUATION = "evaluation"
    PUBLISHING = "publishing"


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training came to: mean loss, and accuracy on the training images in 0–1."""

    epoch: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class NewTask:
    """What is known of a task before its first image; `by` is who sends it. `purge` is for kind `forget` alone."""

    id: str
    by: str
    kind: TaskKind = "learn"
    name: str | None = None
    note: str | None = None
    requested_base: RequestedBase = None
    promote: Promote | None = None
    purge: bool = False


@dataclass(frozen=True)
class Task:
    """A task as it is now.

    `position` counts from 1 in the queue and is 0 while learning, else None. `progress` is in 0–1 and counts the
    whole task, `eta_s` are seconds to its end. `base` is the version that it builds on, fixed at the claim.
    `attempts` counts how often a learner took it up. `seq` is its place in the order of commits. `claim_seq` is the
    last promotion of `serving` at the claim (0: none yet; None: never claimed). `frozen` are the settings fixed at
    the claim. `promote` None leaves it to the server's setting. A task of kind `forget` names its class in `labels`,
    with no images; `purge` says that everything which knows the class goes too.
    """

    id: str
    kind: TaskKind
    state: TaskState
    position: int | None
    phase: Phase | None
    progress: float
    eta_s: float | None
    images: int
    labels: dict[str, int]
    base: int | None
    versions: tuple[int, ...]
    attempts: int
    reason: str | None
    name: str | None
    note: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    epochs: tuple[Epoch, ...]
    by: str
    seq: int | None
    requested_base: RequestedBase
    promote: Promote | None
    purge: bool
    frozen: dict[str, Any] | None
    claim_seq: int | None


@dataclass(frozen=True)
class ItemDraft:
    """An image that is to become part of a task; `field` is what the client called it (`images[3]`)."""

    sha256: str
    label: str
    size_bytes: int
    pixel_digest: str
    split: Split | None = None
    name: str | None = None
    field: str | None = None


@dataclass(frozen=True)
class Item:
    """An image of a task; `id` is its place in the task, from 0. `purged`: its bytes are gone, the row remembers it."""

    id: int
    sha256: str
    label: str
    split: Split | None
    size_bytes: int
    pixel_digest: str
    name: str | None
    purged: bool = False

    def key(self, task_id: str) -> str:
        """Where its bytes lie among the blobs."""
        return image_key(task_id, self.sha256)


@dataclass(frozen=True)
class Checkpoint:
    """Where a learner may go on: the blob that holds the state, and what it says of itself."""

    key: str
    info: dict[str, Any] = field(default_factory=dict)
    saved_at: datetime | None = None


def image_key(task_id: str, sha256: str) -> str:
    """The blob key of an image: images are stored under their task and never shared between tasks."""
    return f"tasks/{task_id}/{sha256}"


def new_task_id() -> str:
    """A fresh id, made before anything of the task is written, so that its images can be stored under it first."""
    return secrets.token_hex(8)
