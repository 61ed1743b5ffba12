"""Every setting, its default and where it came from: `everclass.toml`, then `EVERCLASS_…`, then flags; later ones win.

The only module that reads the environment, but for the failpoints that tests arm. A supervisor hands its settings to
its children as environment variables (`Settings.to_environment`), so that `bentoml serve` alone reads the same file and
the same variables.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import quote

from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from service.setting_groups import (
    GateSettings,
    Group,
    KeySettings,
    LearnSettings,
    LimitSettings,
    Name,
    Positive,
    RetentionSettings,
    ServeSettings,
    TlsSettings,
)

FILE_NAME = "everclass.toml"
HIDDEN = "***"
SECRET = re.compile("pass|secret|token|key", re.IGNORECASE)
"""Names of parameters in a URL that are nobody's business."""

FILE_VARIABLE = "EVERCLASS_CONFIG"
PREFIX = "EVERCLASS_"
FILES = ("weights", "keys.admin_file", "tls.certfile", "tls.keyfile")
OTHER_VARIABLES = frozenset(
    PREFIX + name for name in ("CONFIG", "URL", "KEY", "KEY_FILE", "FAILPOINTS", "EXAMPLES", "STEPS")
)
"""Variables that are no settings: those of the client, of tests, and the one that names the settings file."""

NOTHING = "none"
"""How an absent value (no limit, default) is written in the environment."""
NOTHINGS = frozenset({NOTHING, "null"})
"""How people may write it, in a flag and in the file too: neither has a word of its own for it."""


class WrongSettings(ValueError):
    """Settings that cannot be used; says which one, where it came from and what is wrong with it."""


class Settings(BaseSettings):
    """All settings of service and learner.

    `supervisor` is not for people: it is the process id that the supervisor tells its children, to end with it.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
    )

    data_dir: Path = Path("everclass-data")
    host: Name = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 3000
    backbone: Name = "tf_efficientnet_lite0"
    weights: Path | None = None
    image_size: Annotated[int, Field(ge=16, le=2048)] | None = None
    norm: Literal["pretrained", "fresh"] = "pretrained"
    pooling: Literal["pretrained", "token+avg"] | None = None
    method: Name | None = None
    promote: Literal["auto", "manual"] = "auto"
    database_url: str | None = None
    blobs_url: str | None = None
    supervisor: Positive | None = None
    learn: LearnSettings = LearnSettings()
    serve: ServeSettings = ServeSettings()
    keys: KeySettings = KeySettings()
    tls: TlsSettings = TlsSettings()
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
        placed = {**dict.fromkeys(FILES, _absolute), "blobs_url": _folder_placed, "database_url": _database_placed}
        flat |= {name: place(flat[name]) for name, place in placed.items() if flat[name] is not None}
        return {variable(name): NOTHING if value is None else _written(value) for name, value in flat.items()}


@dataclass(frozen=True)
class Loaded:
    """Settings in force, and by dotted name where each came from: `default`, `file …`, `environment …` or `flag`."""

    settings: Settings
    sources: dict[str, str]


def load_settings(flags: Mapping[str, object] | None = None) -> Loaded:
    """Settings from file, environment and `flags` (dotted names; None is not given; `config` names the file).

    The file is `flags["config"]`, else `EVERCLASS_CONFIG`, else `everclass.toml` in the working folder, if any. The
    words `none` and `null` take a value away from a setting that needs none.
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
    may_be_absent = frozenset(_absentable(Settings))
    for source, values in layers.items():
        merged |= {
            name: None if name in may_be_absent and _is_nothing(value) else value for name, value in values.items()
        }
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
    """The settings among the variables. Raises WrongSettings for a variable that looks like one and is none."""
    if unknown := [name for name in os.environ if name.upper().startswith(PREFIX) and not _is_known(name.upper())]:
        raise WrongSettings("\n".join(f"environment {name}: there is no such setting" for name in sorted(unknown)))
    try:
        return dict(_leaves(EnvSettingsSource(Settings)()))
    except SettingsError as error:
        raise WrongSettings(f"environment: {error}") from None


def _is_known(variable_name: str) -> bool:
    """Whether a variable is one of ours; what is in a group is looked at with the group."""
    first, _, rest = variable_name.removeprefix(PREFIX).lower().partition("__")
    field = Settings.model_fields.get(first)
    if field is None:
        return variable_name in OTHER_VARIABLES
    return not rest or (isinstance(field.annotation, type) and issubclass(field.annotation, Group))


def _absentable(table: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The settings, by dotted name, that may be without a value."""
    for name, field in table.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            yield from _absentable(field.annotation, f"{prefix}{name}.")
        elif type(None) in get_args(field.annotation):
            yield prefix + name


def _is_nothing(value: object) -> bool:
    return isinstance(value, str) and value in NOTHINGS


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


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _folder_placed(url: str) -> str:
    """A folder as an absolute path; a URL as it is."""
    return url if "://" in url else _absolute(url)


def _database_placed(url: str) -> str:
    """SQLite's file as an absolute path; another database as it is."""
    kind, slashes, path = url.partition(":///")
    is_file = kind.partition("+")[0] == "sqlite" and path and not path.startswith(":memory:")
    return kind + slashes + str(Path(path).absolute()) if is_file else url


def _masked(value: str | None) -> str | None:
    """A URL without its passwords, wherever in it the library that reads it may find one."""
    if value is None:
        return None
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    if "://" not in value:
        return value
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        return HIDDEN
    hidden = {name: HIDDEN for name in url.query if SECRET.search(name)}
    return url.update_query_dict(hidden).render_as_string(hide_password=True).replace(quote(HIDDEN), HIDDEN)
