import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from everclass.main import cli
from tests.everclass.scripted import Reply, scripted


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without a settings file of someone else."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_each_setting_shows_where_it_comes_from(elsewhere: Path) -> None:
    (elsewhere / "everclass.toml").write_text(f"port = {free_port()}\n[learn]\nepochs = 3\nseed = 5\n")
    shown = CliRunner().invoke(
        cli, ["config", "--json", "--set", "learn.seed=7", "--data-dir", "d"], env={"EVERCLASS_LEARN__MIN_STEPS": "9"}
    )
    document = json.loads(shown.stdout)
    settings = document["settings"]
    assert settings["learn.epochs"] == {"value": 3, "source": "file everclass.toml"}
    assert settings["learn.seed"] == {"value": 7, "source": "flag"}
    assert settings["learn.min_steps"] == {"value": 9, "source": "environment EVERCLASS_LEARN__MIN_STEPS"}
    assert settings["data_dir"] == {"value": "d", "source": "flag"}
    assert settings["method"]["source"] == "default"
    assert document["differs"] is None


def test_what_the_version_in_force_has_otherwise_is_told() -> None:
    ready = Reply(200, {"ready": True, "version": 3, "differs": ["image_size: 64 in version 3, 96 in the settings"]})
    with scripted(ready) as server:
        port = server.url.rsplit(":", 1)[1]
        table = CliRunner().invoke(cli, ["config", "--set", f"port={port}"])
        document = CliRunner().invoke(cli, ["config", "--set", f"port={port}", "--json"])
    assert "the version in force differs: image_size: 64 in version 3, 96 in the settings" in table.stdout
    assert json.loads(document.stdout)["differs"] == ["image_size: 64 in version 3, 96 in the settings"]


@pytest.mark.parametrize("word", ["null", "none"])
def test_a_flag_takes_a_value_away(elsewhere: Path, word: str) -> None:
    (elsewhere / "everclass.toml").write_text(f"port = {free_port()}\n[learn]\nmax_minutes = 3\n")
    shown = CliRunner().invoke(cli, ["config", "--json", "--set", f"learn.max_minutes={word}"])
    assert json.loads(shown.stdout)["settings"]["learn.max_minutes"] == {"value": None, "source": "flag"}


@pytest.mark.parametrize(
    ("pair", "complaint"),
    [
        ("learn.epochs", "is not NAME=VALUE"),
        ("nothing=1", "there is no such setting"),
        ("learn.epochs=0", "learn.epochs"),
    ],
)
def test_wrong_settings_are_named(pair: str, complaint: str) -> None:
    failed = CliRunner().invoke(cli, ["config", "--set", pair])
    assert failed.exit_code == 2
    assert complaint in failed.stderr


def test_a_server_on_an_open_address_is_refused_without_keys() -> None:
    failed = CliRunner().invoke(cli, ["serve", "--host", "0.0.0.0", "--port", free_port()])
    assert failed.exit_code == 2
    assert "loopback" in failed.stderr
