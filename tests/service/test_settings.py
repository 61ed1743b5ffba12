"""Where settings come from and how they travel."""

import os
from pathlib import Path
from typing import get_args

import pytest

from model.pixels.augmentation import AUGMENTATIONS
from service.setting_groups import Augmentation, named
from service.settings import (
    FILE_NAME,
    FILE_VARIABLE,
    OTHER_VARIABLES,
    PREFIX,
    WrongSettings,
    load_settings,
    variable,
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults_are_named_as_defaults() -> None:
    loaded = load_settings()
    assert loaded.settings.learn.min_steps == 100
    assert loaded.sources["learn.min_steps"] == "default"
    assert set(loaded.sources.values()) == {"default"}


def test_flags_win_over_environment_and_environment_over_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(FILE_NAME).write_text("port = 1111\nhost = '127.0.0.2'\n[learn]\nepochs = 2\nseed = 7\n")
    monkeypatch.setenv("EVERCLASS_LEARN__EPOCHS", "3")
    monkeypatch.setenv("EVERCLASS_PORT", "2222")
    loaded = load_settings({"port": 3333, "host": None})
    assert (loaded.settings.port, loaded.settings.learn.epochs, loaded.settings.learn.seed) == (3333, 3, 7)
    assert loaded.settings.host == "127.0.0.2"
    assert loaded.sources["port"] == "flag"
    assert loaded.sources["learn.epochs"] == "environment EVERCLASS_LEARN__EPOCHS"
    assert loaded.sources["learn.seed"] == f"file {FILE_NAME}"


def test_the_file_may_be_named_by_variable_or_flag(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("port = 1")
    (tmp_path / "b.toml").write_text("port = 2")
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "a.toml"))
    assert load_settings().settings.port == 1
    assert load_settings({"config": tmp_path / "b.toml"}).settings.port == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[learn]\nepochz = 3", r"learn.epochz \(file everclass.toml\): there is no such setting"),
        ("[learn]\nepochs = 0", r"learn.epochs \(file everclass.toml\): .*greater than or equal to 1"),
        ("port = ", "everclass.toml: "),
    ],
)
def test_a_wrong_file_is_refused_by_name(text: str, complaint: str) -> None:
    Path(FILE_NAME).write_text(text)
    with pytest.raises(WrongSettings, match=complaint):
        load_settings()


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(WrongSettings, match="no settings file"):
        load_settings({"config": "missing.toml"})


def test_an_environment_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERCLASS_LEARN", "{not json")
    with pytest.raises(WrongSettings, match="environment"):
        load_settings()


def test_wrong_variables_and_flags_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERCLASS_GATE__STRICT", "perhaps")
    with pytest.raises(WrongSettings, match=r"gate.strict \(environment EVERCLASS_GATE__STRICT\)"):
        load_settings()
    monkeypatch.delenv("EVERCLASS_GATE__STRICT")
    with pytest.raises(WrongSettings, match=r"ports \(flag\): there is no such setting"):
        load_settings({"ports": 1})


def test_settings_travel_whole_through_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Path(FILE_NAME).write_text("[learn]\nmax_minutes = 4\n[retention]\nkeep = 3")
    sent = load_settings(
        {"data_dir": "here", "learn.max_minutes": 2.5, "gate.enabled": False, "weights": "w.safetensors"}
    ).settings
    for name, value in sent.to_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir("/")
    received = load_settings().settings
    assert received.root == tmp_path / "here"
    assert received.weights == tmp_path / "w.safetensors"
    assert received.flat() | {"data_dir": None, "weights": None} == sent.flat() | {"data_dir": None, "weights": None}


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("blobs_url", "my blobs", "{here}/my blobs"),
        ("blobs_url", "/srv/blobs", "/srv/blobs"),
        ("blobs_url", "s3://bucket/prefix?region=x", "s3://bucket/prefix?region=x"),
        ("database_url", "sqlite:///my.db", "sqlite:///{here}/my.db"),
        ("database_url", "sqlite+pysqlite:///my.db", "sqlite+pysqlite:///{here}/my.db"),
        ("database_url", "sqlite:////srv/my.db", "sqlite:////srv/my.db"),
        ("database_url", "postgresql:///db?host=h", "postgresql:///db?host=h"),
    ],
)
def test_a_child_elsewhere_finds_the_same_blobs_and_database(tmp_path: Path, name: str, given: str, sent: str) -> None:
    settings = load_settings({name: given}).settings
    assert settings.to_environment()[variable(name)] == sent.format(here=tmp_path)


def test_names_may_be_a_list_in_the_file_and_have_commas_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(FILE_NAME).write_text("[keys]\nallowed_hosts = ['A.example', 'b.example']")
    monkeypatch.setenv("EVERCLASS_KEYS__ALLOWED_ORIGINS", "https://a.example, https://b.example,")
    keys = load_settings().settings.keys
    assert named(keys.allowed_hosts) == {"a.example", "b.example"}
    assert named(keys.allowed_origins) == {"https://a.example", "https://b.example"}
    assert named(None) == frozenset()


def test_nothing_in_the_environment_wins_over_something_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(FILE_NAME).write_text("[retention]\nkeep = 3")
    monkeypatch.setenv("EVERCLASS_RETENTION__KEEP", "none")
    assert load_settings().settings.retention.keep is None


def test_passwords_are_not_shown() -> None:
    settings = load_settings({"database_url": "postgresql://me:secret@host/db"}).settings
    assert settings.shown()["database_url"] == "postgresql://me:***@host/db"
    assert settings.shown()["blobs_url"] is None
    for url in (
        "postgresql:///db?host=h&user=u&password=secret",
        "postgresql://u:sec/ret@h/db?sslpassword=secret",
        "postgresql://u:secret#?@h/db",
        "postgresql://u:secret@[/db",
    ):
        shown = load_settings({"database_url": url}).settings.shown()["database_url"]
        assert "secret" not in str(shown) and "sec/ret" not in str(shown) and "***" in str(shown), shown
    assert load_settings({"blobs_url": "s3://bucket/x"}).settings.shown()["blobs_url"] == "s3://bucket/x"


def test_places_follow_from_the_data_folder(tmp_path: Path) -> None:
    settings = load_settings({"data_dir": tmp_path}).settings
    assert settings.database == f"sqlite:///{tmp_path}/everclass.db"
    assert settings.blobs == f"{tmp_path}/blobs"
    assert (settings.incoming, settings.cache) == (tmp_path / "incoming", tmp_path / "cache")


@pytest.mark.parametrize(
    "name", ["retention.task_days", "retention.grace_hours", "limits.open_hours", "retention.audit_days"]
)
@pytest.mark.parametrize("value", ["inf", "nan", "1e12"])
def test_times_that_no_calendar_has_are_refused(name: str, value: str) -> None:
    with pytest.raises(WrongSettings, match=name):
        load_settings({name: float(value)})


def test_the_augmentations_are_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*AUGMENTATIONS, "none"):
        sent = load_settings({"learn.augmentation": name}).settings
        monkeypatch.setenv("EVERCLASS_LEARN__AUGMENTATION", sent.to_environment()["EVERCLASS_LEARN__AUGMENTATION"])
        assert load_settings().settings.learn.augmentation == name
    assert set(get_args(Augmentation)) == {*AUGMENTATIONS, "none"}
    with pytest.raises(WrongSettings, match=r"learn.augmentation \(flag\): .*'crop_flip', 'crop', .*'none'"):
        load_settings({"learn.augmentation": "foo"})


@pytest.mark.parametrize("word", ["none", "null"])
def test_a_value_is_taken_away_by_a_word(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    Path(FILE_NAME).write_text("weights = 'w'\n[learn]\nmax_minutes = 3\n[keys]\nallowed_hosts = 'a'\n")
    monkeypatch.setenv("EVERCLASS_KEYS__ALLOWED_HOSTS", word)
    loaded = load_settings({"weights": word, "learn.max_minutes": word})
    settings = loaded.settings
    assert (settings.weights, settings.learn.max_minutes, settings.keys.allowed_hosts) == (None, None, None)
    assert loaded.sources["learn.max_minutes"] == "flag"
    Path(FILE_NAME).write_text(f"weights = '{word}'\n")
    assert load_settings().settings.weights is None
    with pytest.raises(WrongSettings, match=r"learn.epochs \(flag\)"):
        load_settings({"learn.epochs": word})


@pytest.mark.parametrize(
    "name", ["EVERCLASS_DATADIR", "everclass_datadir", "EVERCLASS_LERN__EPOCHS", "EVERCLASS_PORT__X"]
)
def test_a_variable_that_is_no_setting_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(WrongSettings, match=f"^environment {name}: there is no such setting$"):
        load_settings()


def test_the_variables_of_the_client_and_of_tests_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OTHER_VARIABLES - {FILE_VARIABLE}:
        monkeypatch.setenv(name, "1")
    assert set(load_settings().sources.values()) == {"default"}
