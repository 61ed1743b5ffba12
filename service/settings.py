"""Every setting, its default and where it came from: `everclass.toml`, then `EVERCLASS_…`, then flags; later ones win.

The only module that reads the environment. A supervisor hands its settings to its children as environment variables
(`Settings.to_environment`), so that `bentoml serve` alone reads the same file and the same variables.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

if TYPE_CHECKING:
    from stream.intake import IntakeLimits
    from stream.retention import Policy
    from stream.sources import SourceLimits

FILE_NAME = "everclass.toml"
FILE_VARIABLE = "EVERCLASS_CONFIG"
PREFIX = "EVERCLASS_"
NOTHING = "none"
"""How an absent value (no limit, default) is written in the environment."""

BYTES_PER_MB = 1 << 20
S_PER_HOUR = 3600.0

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class WrongSettings(ValueError):
    """Settings that cannot be used; says which one, where it came from and what is wrong with it."""


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
    batch_size: Positive = 128
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    augmentation: Name = "crop_flip"
    threads: Positive | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    held_out: Rate = 0.1
    held_out_per_class: Positive = 50
    commit_images: Positive | None = None
    commit_minutes: PositiveFloat | None = None


class ServeSettings(Group):
    """How predictions are made. `queue_images` is how many images may wait or be under way before 429."""

    runtime: Literal["auto", "onnxruntime", "openvino-bf16", "openvino-fp32"] = "auto"
    max_batch: Positive = 32
    max_loaded: Positive = 3
    threads: Positive = Field(default_factory=cores)
    decode_threads: Positive = Field(default_factory=lambda: max(2, cores()))
    queue_images: Positive = 1024
    drain_s: PositiveFloat = 30.0
    metrics: bool = True


class KeySettings(Group):
    """Where a first admin key comes from."""

    admin_file: Path | None = None


class LimitSettings(Group):
    """What a client may send and how much may wait."""

    request_mb: Positive = 1024
    predict_mb: Positive = 64
    image_mb: Positive = 32
    json_kb: Positive = 64
    images_per_request: Positive = 20_000
    images_per_predict: Positive = 256
    max_pixels: Positive = 50_000_000
    expanded_mb: Positive = 4096
    expansion_ratio: PositiveFloat = 200.0
    label_length: Annotated[int, Field(ge=1, le=200)] = 200
    images_per_task: Positive = 100_000
    labels_per_task: Positive = 10_000
    note_length: Positive = 2000
    queue_tasks: Positive = 100
    open_hours: PositiveFloat = 24.0

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
    task_days: PositiveFloat = 30.0
    idempotency_hours: PositiveFloat = 72.0
    grace_hours: PositiveFloat = 24.0
    sweep_minutes: PositiveFloat = 10.0

    def policy(self) -> "Policy":
        """What a sweep may take."""
        from stream.retention import Policy

        return Policy(keep=self.keep, task_days=self.task_days, grace_s=self.grace_hours * S_PER_HOUR)


class Settings(BaseSettings):
    """All settings of service and learner.

    `supervisor` is not for people: it is the process id that the supervisor tells its children, to end with it.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_parse_none_str=NOTHING,
    )

    data_dir: Path = Path("everclass-data")
    host: Name = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 3000
    backbone: Name = "tf_efficientnet_lite0"
    weights: Path | None = None
    image_size: Annotated[int, Field(ge=16, le=2048)] | None = None
    norm: Literal["pretrained", "fresh"] = "pretrained"
    method: Name = "slca+drift"
    promote: Literal["auto", "manual"] = "auto"
    database_url: str | None = None
    blobs_url: str | None = None
    supervisor: Positive | None = None
    learn: LearnSettings = LearnSettings()
    serve: ServeSettings = ServeSettings()
    keys: KeySettings = KeySettings()
    limits: LimitSettings = LimitSettings()
    gate: GateSettings = GateSettings()
    retention: RetentionSettings = RetentionSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load_settings` gathered: it asks the sources itself, to know which one won."""
        return (init_settings,)

    @property
    def root(self) -> Path:
        """The data folder as an absolute path."""
        return self.data_dir.expanduser().absolute()

    @property
    def database(self) -> str:
        """The database's SQLAlchemy URL; SQLite in the data folder by default."""
        return self.database_url or f"sqlite:///{self.root / 'everclass.db'}"

    @property
    def blobs(self) -> str:
        """Where blobs are kept; a folder in the data folder by default."""
        return self.blobs_url or str(self.root / "blobs")

    @property
    def incoming(self) -> Path:
        """Where uploads land until they are accepted."""
        return self.root / "incoming"

    @property
    def cache(self) -> Path:
        """Where what can be fetched or made again is kept."""
        return self.root / "cache"

    def flat(self) -> dict[str, Any]:
        """Every setting by its dotted name."""
        return dict(_leaves(self.model_dump(mode="json")))

    def shown(self) -> dict[str, Any]:
        """Every setting by its dotted name, fit for people's eyes: passwords in URLs are masked."""
        return {name: _masked(value) if name.endswith("_url") else value for name, value in self.flat().items()}

    def to_environment(self) -> dict[str, str]:
        """The variables from which a child process loads exactly these settings, wherever it runs."""
        flat = self.flat() | {"data_dir": str(self.root)}
        if self.weights is not None:
            flat["weights"] = str(self.weights.expanduser().absolute())
        return {variable(name): NOTHING if value is None else _written(value) for name, value in flat.items()}


@dataclass(frozen=True)
class Loaded:
    """Settings in force, and by dotted name where each came from: `default`, `file …`, `environment …` or `flag`."""

    settings: Settings
    sources: dict[str, str]


def load_settings(flags: Mapping[str, object] | None = None) -> Loaded:
    """Settings from file, environment and `flags` (dotted names; None is not given; `config` names the file).

    The file is `flags["config"]`, else `EVERCLASS_CONFIG`, else `everclass.toml` in the working folder, if any.
    Raises WrongSettings for unknown names, bad values and unreadable files.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    file = _file(given.pop("config", None))
    layers = {
        f"file {file}": _from_file(file),
        "environment": _from_environment(),
        "flag": dict(given),
    }
    merged: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, values in layers.items():
        merged |= values
        sources |= {name: f"{source} {variable(name)}" if source == "environment" else source for name in values}
    return _checked(merged, sources)


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment for a process that this one starts: as here, with exactly `settings`, and no word to outside."""
    return {**os.environ, **settings.to_environment(), "BENTOML_DO_NOT_TRACK": "True"}


def variable(name: str) -> str:
    """The environment variable of a dotted setting name."""
    return PREFIX + name.upper().replace(".", "__")


def _checked(merged: Mapping[str, Any], sources: dict[str, str]) -> Loaded:
    try:
        settings = Settings(**_nested(merged))
    except ValidationError as error:
        raise WrongSettings("\n".join(_complaints(error, sources))) from None
    return Loaded(settings, {name: sources.get(name, "default") for name in settings.flat()})


def _complaints(error: ValidationError, sources: Mapping[str, str]) -> Iterator[str]:
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        known = "there is no such setting" if problem["type"] == "extra_forbidden" else problem["msg"]
        yield f"{name} ({sources.get(name, 'given')}): {known}"


def _file(flag: object) -> Path | None:
    named = flag or os.environ.get(FILE_VARIABLE)
    if named:
        path = Path(str(named))
        if not path.is_file():
            raise WrongSettings(f"there is no settings file {path}")
        return path
    default = Path(FILE_NAME)
    return default if default.is_file() else None


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return dict(_leaves(TomlConfigSettingsSource(Settings, toml_file=path)()))
    except (ValueError, OSError) as error:
        raise WrongSettings(f"{path}: {error}") from None


def _from_environment() -> dict[str, Any]:
    try:
        return dict(_leaves(EnvSettingsSource(Settings)()))
    except SettingsError as error:
        raise WrongSettings(f"environment: {error}") from None


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for dotted, value in flat.items():
        *groups, name = dotted.split(".")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[name] = value
    return tree


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _masked(value: str | None) -> str | None:
    if value is None:
        return None
    url = urlsplit(value)
    if url.password is None:
        return value
    return urlunsplit(url._replace(netloc=url.netloc.replace(f":{url.password}@", ":***@")))
