"""A version: an immutable, numbered snapshot of the model; and the log of what served when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

SERVING = "serving"
"""The alias whose version `/predict` uses."""

VersionKind = Literal["provisional", "final"]


FILES_DAMAGED = "its files are damaged: "
"""How the reason begins where stored bytes were at fault: such a version is whole again once its bytes are."""


class VersionState(StrEnum):
    """Whether a version may serve.

    ready ◀──▶ held        held may serve once a person promotes it; a cancelled task's provisional is held
      └─▶ damaged ◀─┘      its files are not what the manifest says; held again once they are (`everclass verify`),
                           ready again once its task publishes it anew
      └─▶ deleted ◀─┘      its row stays, its files go; nothing comes back from here
    """

    READY = "ready"
    HELD = "held"
    DAMAGED = "damaged"
    DELETED = "deleted"

    @property
    def servable(self) -> bool:
        """Whether a person may promote it."""
        return self in (VersionState.READY, VersionState.HELD)

    def may_become(self, other: "VersionState") -> bool:
        """Whether a version goes from this state straight to `other`."""
        return other in TRANSITIONS[self]


TRANSITIONS: Mapping[VersionState, frozenset[VersionState]] = {
    VersionState.READY: frozenset({VersionState.HELD, VersionState.DAMAGED, VersionState.DELETED}),
    VersionState.HELD: frozenset({VersionState.READY, VersionState.DAMAGED, VersionState.DELETED}),
    VersionState.DAMAGED: frozenset({VersionState.READY, VersionState.HELD, VersionState.DELETED}),
    VersionState.DELETED: frozenset(),
}


@dataclass(frozen=True)
class VersionClass:
    """A class that a version knows. `since` is the first task that brought it, `images` how many were learned from."""

    label: str
    since: str | None
    images: int


@dataclass(frozen=True)
class TaskAccuracy:
    """Accuracy in 0–1 on the held-out images of one task of the lineage."""

    task: str
    accuracy: float | None
    images: int


@dataclass(frozen=True)
class VersionDraft:
    """What the learner hands to `publish`.

    `digest` is the SHA-256 of the manifest, `parts` the SHA-256 of every blob that it names. Rates are 0–1, None
    where nothing was held out.
    """

    kind: VersionKind
    digest: str
    size_bytes: int
    parts: tuple[str, ...]
    classes: tuple[VersionClass, ...]
    accuracy: float | None = None
    accuracy_per_task: tuple[TaskAccuracy, ...] = ()
    forgetting: float | None = None
    calibration_error: float | None = None
    gate: dict[str, Any] | None = None
    runtime: str | None = None
    reason: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Version:
    """A version as it stands in the ledger; `parent` is the version it was learned from, None at a root."""

    version: int
    parent: int | None
    task: str | None
    kind: VersionKind
    state: VersionState
    classes: tuple[VersionClass, ...]
    accuracy: float | None
    accuracy_per_task: tuple[TaskAccuracy, ...]
    forgetting: float | None
    calibration_error: float | None
    gate: dict[str, Any] | None
    runtime: str | None
    reason: str | None
    note: str | None
    size_bytes: int
    digest: str
    created_at: datetime
    parts: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the head's columns."""
        return tuple(entry.label for entry in self.classes)


@dataclass(frozen=True)
class Promotion:
    """One line of the log of alias moves. `version` None: the alias points at nothing from here on.

    `task` is the task whose learning moved it, or whose cancelling moved it back; None where a person did.
    """

    seq: int
    alias: str
    version: int | None
    previous: int | None
    at: datetime
    by: str
    reason: str | None
    lost: tuple[str, ...]
    won: tuple[str, ...]
    task: str | None = None


@dataclass(frozen=True)
class Serving:
    """What is in force: the promotion that put it there, the version, and its manifest's digest."""

    seq: int
    version: int
    digest: str


@dataclass(frozen=True)
class Expected:
    """What someone believes in force before a move; fields left None are not compared."""

    version: int | None = None
    seq: int | None = None


def lost_and_won(before: Sequence[str], after: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The labels that a move from `before` to `after` takes away and brings, each in its version's order."""
    had, has = set(before), set(after)
    return tuple(label for label in before if label not in has), tuple(label for label in after if label not in had)
