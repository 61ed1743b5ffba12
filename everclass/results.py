"""What a server answers, as values with types.

Names are the HTTP contract's. A newer server may send more fields than stand here: they are kept, and `model_dump`
shows them.
"""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

TaskState = Literal["open", "queued", "learning", "done", "failed", "cancelled"]
VersionState = Literal["ready", "held", "damaged", "deleted"]
Value = TypeVar("Value")


class Result(BaseModel):
    """A frozen value that keeps the fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Epoch(Result):
    """One pass of the slow learner over a task: mean loss and training accuracy (0–1)."""

    epoch: int
    loss: float
    accuracy: float


class Task(Result):
    """One step of learning. `progress` is 0–1 of the whole task, `eta_s` seconds, `versions` those it made."""

    id: str
    kind: str = "learn"
    state: TaskState
    position: int | None = None
    phase: str | None = None
    progress: float | None = None
    eta_s: float | None = None
    images: int = 0
    labels: dict[str, int] = Field(default_factory=dict)
    base: int | None = None
    versions: tuple[int, ...] = ()
    attempts: int = 0
    reason: str | None = None
    name: str | None = None
    note: str | None = None
    by: str | None = None
    purge: bool = False
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    epochs: tuple[Epoch, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether the task will not change by itself any more."""
        return self.state in ("done", "failed", "cancelled")


class VersionClass(Result):
    """A class that a version knows; `since` is the task that first brought it."""

    label: str
    since: str | int | None = None
    images: int = 0


class TaskAccuracy(Result):
    """Accuracy (0–1) on the held-out images of one task."""

    task: str
    accuracy: float | None = None
    images: int = 0


class Version(Result):
    """An immutable, numbered snapshot. Rates are 0–1, null where there was nothing to judge by."""

    version: int
    parent: int | None = None
    task: str | None = None
    kind: str
    state: VersionState
    classes: tuple[VersionClass, ...] = ()
    accuracy: float | None = None
    accuracy_per_task: tuple[TaskAccuracy, ...] = ()
    forgetting: float | None = None
    calibration_error: float | None = None
    gate: Any = None
    runtime: Any = None
    reason: str | None = None
    note: str | None = None
    size_bytes: int | None = None
    digest: str | None = None
    created_at: datetime | None = None


class Promotion(Result):
    """One line of the log of alias moves; `lost` and `won` are the labels that the move took away and brought."""

    seq: int
    alias: str
    version: int | None = None
    previous: int | None = None
    at: datetime
    by: str | None = None
    reason: str | None = None
    lost: tuple[str, ...] = ()
    won: tuple[str, ...] = ()


class AuditEntry(Result):
    """One line of the audit log. `key` and `name` are null where no known key was shown; `times`: alike in a row."""

    seq: int
    at: datetime
    key: str | None = None
    name: str | None = None
    route: str
    method: str
    status: int
    object: str | None = None
    remote: str | None = None
    times: int = 1


class Candidate(Result):
    """A label with its calibrated score (0–1)."""

    label: str
    score: float


class Prediction(Result):
    """The answer for one image; `known` is false where it lies far from every class."""

    label: str
    score: float
    known: bool | None = None
    top: tuple[Candidate, ...] = ()


class Answer(Result):
    """Predictions in the order of the images, the version that made them, and the log line then in force."""

    version: int
    kind: str | None = None
    predictions: tuple[Prediction, ...]
    promotion_seq: int | None = None


class LearnerState(Result):
    """What the service knows of the learner; `heartbeat_age_s` is null before its first one."""

    alive: bool
    heartbeat_age_s: float | None = None
    task: str | None = None


class Readiness(Result):
    """Whether a version is loaded and warm; `behind` where a worker has not yet taken the one in force.

    `reason` says why it is not ready. `differs` names settings that the version in force was made with otherwise: the
    version's win.
    """

    ready: bool
    version: int | None = None
    behind: bool = False
    reason: str | None = None
    differs: tuple[str, ...] = ()
    learner: LearnerState | None = None


class Page(Result, Generic[Value]):
    """A part of a list; `next` is the cursor of the next part."""

    items: tuple[Value, ...]
    next: str | int | None = None
