"""The groups of settings, each with its defaults: how to learn, to serve, to limit, to judge and to keep."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from model.cores import cores

if TYPE_CHECKING:
    from stream.intake import IntakeLimits
    from stream.ledger import Quota
    from stream.retention import Policy
    from stream.sources import SourceLimits

BYTES_PER_MB = 1 << 20
S_PER_HOUR = 3600.0

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Days = Annotated[float, Field(gt=0, le=36_500)]
Hours = Annotated[float, Field(gt=0, le=876_000)]
Augmentation = Literal["crop_flip", "crop", "cifar100", "imagenet", "cub", "none"]
"""The recipes of `model.pixels.augmentation`, which a supervisor does not load, and `none`."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


def _joined(value: object) -> object:
    """A list, as TOML has it, as words with commas between them."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


Names = Annotated[str | None, BeforeValidator(_joined)]
"""Names with commas between them."""


def named(names: str | None) -> frozenset[str]:
    """The single names, lower case."""
    return frozenset(name.strip().lower() for name in (names or "").split(",") if name.strip())


class Group(BaseModel):
    """A table of settings; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LearnSettings(Group):
    """How the learner trains. What a base's manifest says otherwise wins over this (design, invariant 11)."""

    epochs: Positive = 10
    max_minutes: PositiveFloat | None = None
    min_steps: Annotated[int, Field(ge=0)] = 100
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1993
    head_lr: PositiveFloat = 0.01
    backbone_lr: Annotated[float, Field(ge=0)] = 1e-4
    move_backbone: Literal["if_better", "always"] = "if_better"
    batch_size: Positive = 128
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    augmentation: Augmentation = "crop_flip"
    threads: Positive | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    held_out: Rate = 0.1
    held_out_per_class: Positive = 50
    commit_images: Positive | None = None
    commit_minutes: PositiveFloat | None = None
    allow_images: bool = False


class ServeSettings(Group):
    """How predictions are made. `queue_images` is how many images may wait or be under way before 429."""

    runtime: Literal["auto", "onnxruntime", "openvino-bf16", "openvino-fp32"] = "auto"
    max_batch: Positive = 32
    max_loaded: Positive = 3
    threads: Positive = Field(default_factory=cores)
    decode_threads: Positive = Field(default_factory=lambda: max(2, cores()))
    decoders: Annotated[int, Field(ge=0)] = Field(default_factory=lambda: max(2, cores()))
    queue_images: Positive = 1024
    drain_s: PositiveFloat = 30.0
    metrics: bool = True


class KeySettings(Group):
    """Where a first admin key comes from, and what holds where there are keys."""

    admin_file: Path | None = None
    metrics: Literal["open", "predict", "learn", "admin"] = "predict"
    allowed_hosts: Names = None
    allowed_origins: Names = None


class TlsSettings(Group):
    """Certificate (chain) and private key in PEM; the key may stand in the certificate's file."""

    certfile: Path | None = None
    keyfile: Path | None = None


class LimitSettings(Group):
    """What a client may send and how much may wait."""

    request_mb: Positive = 1024
    predict_mb: Positive = 64
    image_mb: Positive = 32
    json_kb: Positive = 64
    images_per_request: Positive = 20_000
    images_per_predict: Positive = 256
    max_pixels: Positive = 50_000_000
    decode_s: PositiveFloat = 20.0
    expanded_mb: Positive = 4096
    expansion_ratio: PositiveFloat = 200.0
    label_length: Annotated[int, Field(ge=1, le=200)] = 200
    images_per_task: Positive = 100_000
    labels_per_task: Positive = 10_000
    note_length: Positive = 2000
    queue_tasks: Positive = 100
    waiting_mb: Positive = 512
    connections: Positive = 512
    header_s: PositiveFloat = 10.0
    patience_s: PositiveFloat = 20.0
    slowest_kb_s: PositiveFloat = 8.0
    open_hours: Hours = 24.0

    def intake(self) -> "IntakeLimits":
        """What one batch may bring."""
        from stream.intake import IntakeLimits

        return IntakeLimits(
            images=self.images_per_request,
            image_bytes=self.image_mb * BYTES_PER_MB,
            pixels=self.max_pixels,
            labels=self.labels_per_task,
            label_characters=self.label_length,
        )

    def quota(self) -> "Quota":
        """How much may wait, and what all batches of a task may bring together."""
        from stream.ledger import Quota

        return Quota(
            queued_tasks=self.queue_tasks, images_per_task=self.images_per_task, labels_per_task=self.labels_per_task
        )

    def source(self) -> "SourceLimits":
        """How much may come out of an archive or a table."""
        from stream.sources import SourceLimits

        return SourceLimits(
            files=self.images_per_request,
            file_bytes=self.image_mb * BYTES_PER_MB,
            total_bytes=self.expanded_mb * BYTES_PER_MB,
            ratio=self.expansion_ratio,
        )


class GateSettings(Group):
    """When a version may take over. Falls are rates; see design, invariant 7."""

    enabled: bool = True
    strict: bool = False
    max_images: Positive = 2000
    base_fall: Rate = 0.02
    lineage_fall: Rate = 0.05
    standard_errors: Annotated[float, Field(ge=0)] = 2.0


class RetentionSettings(Group):
    """What is kept how long. `keep` counts final versions (none: all)."""

    keep: Positive | None = None
    task_days: Days = 30.0
    idempotency_hours: Hours = 72.0
    grace_hours: Hours = 24.0
    sweep_minutes: PositiveFloat = 10.0
    audit_days: Days = 365.0

    def policy(self) -> "Policy":
        """What a sweep may take."""
        from stream.retention import Policy

        return Policy(keep=self.keep, task_days=self.task_days, grace_s=self.grace_hours * S_PER_HOUR)
