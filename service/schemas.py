"""What goes over the wire: the field names that clients rely on. None is ever renamed."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from service.gate_schema import Gate
from stream.tasks import Phase, Task, TaskKind, TaskState
from stream.versions import Expected, Promotion, Version, VersionKind, VersionState

T = TypeVar("T", bound=BaseModel)

Time = Annotated[
    datetime,
    PlainSerializer(lambda time: rfc3339(time), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Rate = float | None
MAX_VERSION = 2**31 - 1


def whole(value: object) -> object:
    """A number such as 4.0, which JSON Schema takes for an integer, as one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


VersionNumber = Annotated[int, Field(ge=1, le=MAX_VERSION, strict=True), BeforeValidator(whole)]
NUMBER: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": MAX_VERSION}

# What the ledger refuses in texts (`stream/ledger/words.py`), for who reads the description.
ONE_LINE = {"pattern": r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$"}
LINES = {"pattern": r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]*$"}
NO_NUL = {"pattern": r"^[^\u0000]*$"}
NOTE = "as many characters as the setting limits.note_length allows, 2000 by default"


def base_of(value: object) -> object:
    """A version's number, written as one or given as one, or `none`. One error for what is neither."""
    text = str(whole(value))
    if value is None or text == "none":
        return value
    if isinstance(value, bool) or not re.fullmatch("[1-9][0-9]{0,9}", text) or int(text) > MAX_VERSION:
        raise ValueError("a version's number or none is expected")
    return int(text)


Base = Annotated[Annotated[int, WithJsonSchema(NUMBER)] | Literal["none"] | None, BeforeValidator(base_of)]


def rfc3339(time: datetime) -> str:
    """A time in UTC as `2026-01-31T12:00:00.000000Z`."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Answer(BaseModel):
    """Something the server says; read from a value of the ledger by its attributes."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Request(BaseModel):
    """Something a client says; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EpochBody(Answer):
    """One epoch of training: mean loss, accuracy on the training images in 0–1."""

    epoch: int
    loss: float
    accuracy: float


class TaskBody(Answer):
    """A task as it is now. `position` counts from 1 in the queue; `progress` is in 0–1; `eta_s` in seconds.

    A task of kind `forget` names its class in `labels`, with no images; `purge` says that it purges the class too.
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
    by: str
    purge: bool
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    epochs: tuple[EpochBody, ...]

    @classmethod
    def of(cls, task: Task) -> "TaskBody":
        """The task for the wire."""
        return cls.model_validate(task)


class ClassBody(Answer):
    """A class that a version knows: the task that first brought it, images learned from."""

    label: str
    since: str | None
    images: int


class TaskAccuracyBody(Answer):
    """Accuracy in 0–1 on the held-out images of one task."""

    task: str
    accuracy: Rate
    images: int


class VersionBody(Answer):
    """A version. Rates are 0–1, null where nothing was held out."""

    version: int
    parent: int | None
    task: str | None
    kind: VersionKind
    state: VersionState
    classes: tuple[ClassBody, ...]
    accuracy: Rate
    accuracy_per_task: tuple[TaskAccuracyBody, ...]
    forgetting: Rate
    calibration_error: Rate
    gate: Gate
    runtime: str | None
    reason: str | None
    note: str | None
    size_bytes: int
    digest: str
    created_at: Time

    @classmethod
    def of(cls, version: Version) -> "VersionBody":
        """The version for the wire."""
        return cls.model_validate(version)


class PromotionBody(Answer):
    """One move of an alias, with the labels that it took away and brought. `version` is null where it was removed."""

    seq: int
    alias: str
    version: int | None
    previous: int | None
    at: Time
    by: str
    reason: str | None
    lost: tuple[str, ...]
    won: tuple[str, ...]

    @classmethod
    def of(cls, promotion: Promotion) -> "PromotionBody":
        """The promotion for the wire."""
        return cls.model_validate(promotion)


class AuditBody(Answer):
    """One line of the audit log. `key` and `name` are null where no known key was shown; `times`: alike in a row."""

    seq: int
    at: Time
    key: str | None
    name: str | None
    route: str
    method: str
    status: int
    object: str | None
    remote: str | None
    times: int


class Listing(Answer, Generic[T]):
    """A page of a list; `next` is the cursor of the page after it."""

    items: tuple[T, ...]
    next: str | None


class TopBody(Answer):
    """One of the likeliest labels; the score is a calibrated probability."""

    label: str
    score: float


class PredictionBody(Answer):
    """What one image shows. `known` is false where its features lie far from every class."""

    label: str
    score: float
    known: bool
    top: tuple[TopBody, ...]


class PredictBody(Answer):
    """Predictions in the order of the images, all made by one version."""

    version: int
    kind: VersionKind
    predictions: tuple[PredictionBody, ...]


class LearnerBody(Answer):
    """The learner as its heartbeat shows it."""

    alive: bool
    heartbeat_age_s: float | None
    task: str | None


class ReadyBody(Answer):
    """Whether predictions are answered, and with what. `behind`: what is in force could not be loaded here.

    `reason` says why it is not ready, and why it is behind; it is null where it is neither.
    """

    ready: bool
    version: int | None
    behind: bool
    draining: bool
    runtime: str | None
    reason: str | None
    learner: LearnerBody
    differs: tuple[str, ...]


class ExpectedRequest(Request):
    """What the caller believes in force."""

    version: VersionNumber | None = None
    seq: Annotated[int, Field(ge=0, strict=True), BeforeValidator(whole)] | None = None


def belief_of(value: object) -> object:
    """A bare number is a version."""
    return {"version": value} if isinstance(value, int | float) else value


def or_number(schema: dict[str, Any]) -> None:
    """Say of a belief that it may be a bare number too."""
    schema["anyOf"].append(NUMBER)


class Move(Request):
    """What every move of an alias may say."""

    reason: Annotated[str, Field(max_length=2000, json_schema_extra=NO_NUL)] | None = None
    expected: Annotated[ExpectedRequest | None, BeforeValidator(belief_of), Field(json_schema_extra=or_number)] = None

    def expectation(self) -> Expected | None:
        """The same for the ledger."""
        return None if self.expected is None else Expected(version=self.expected.version, seq=self.expected.seq)


class RollbackRequest(Move):
    """Where to go back to: a version, a task's base, or the parent of the version in force."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"properties": {one: {"type": "null"}}} for one in ("version", "task")]}
    )

    version: VersionNumber | None = None
    task: Annotated[str, Field(max_length=64)] | None = None


class AliasRequest(Move):
    """Where an alias is to point."""

    version: VersionNumber


class NewTaskRequest(Request):
    """What an open task starts with."""

    name: Annotated[str, Field(max_length=200, json_schema_extra=ONE_LINE)] | None = None
    note: Annotated[str, Field(description=NOTE, json_schema_extra=LINES)] | None = None
    base: Base = None
    promote: Literal["auto", "manual"] | None = None


class ProblemBody(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[dict[str, str], ...] = ()
