"""A place that cannot be used is told in one line, by the setting that names it, before anything of a server starts."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from everclass.main import cli
from service.settings import WrongSettings, child_environment, load_settings
from service.stores import check_stores
from stream.errors import Unavailable
from tests.http.server import free_port

UNUSABLE = [
    ("database_url", "mysql://u:secret@h/db", "the database cannot be mysql://"),
    ("database_url", "nonsense", "this is no URL of a database"),
    ("database_url", "postgresql://u:secret@h:port/db", "this is no URL of a database"),
    ("database_url", "postgresql://u:secret@127.0.0.1/db?nonsense=1", 'invalid connection option "nonsense"'),
    ("database_url", "sqlite:////dev/null/x.db", "/dev/null/x.db cannot be used"),
    ("database_url", "sqlite:///{folder}", "{folder} cannot be used"),
    ("database_url", "sqlite:///{file}", "file is not a database"),
    ("blobs_url", "ftp://h/x", "blobs cannot be kept at ftp://"),
    ("blobs_url", "s3:///prefix", "names its bucket"),
    ("blobs_url", "s3://bucket/x?endpoint_url=nonsense", "Invalid endpoint: nonsense"),
    ("blobs_url", "{file}", "{file} cannot be used: Not a directory"),
    ("data_dir", "{file}", "{file} cannot be used: Not a directory"),
    ("data_dir", "{file}/below", "{file}/below cannot be used: Not a directory"),
]


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """A folder, and a file that is no database."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("This is not a database.\n" * 100)
    return {"folder": str(tmp_path / "folder"), "file": str(tmp_path / "file")}


@pytest.mark.parametrize(("name", "value", "why"), UNUSABLE)
def test_a_place_that_cannot_be_used_is_named(
    tmp_path: Path, places: dict[str, str], name: str, value: str, why: str
) -> None:
    given = {"data_dir": tmp_path / "data", name: value.format(**places)}
    with pytest.raises(WrongSettings) as refused:
        check_stores(load_settings(given).settings)
    said = str(refused.value)
    assert said.startswith(f"{name}: ") and why.format(**places) in said
    assert ":secret" not in said and "\n" not in said


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever runs the tests may be root, to whom every folder is open.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(WrongSettings, match=f"^data_dir: {tmp_path} cannot be used: Permission denied$"):
        check_stores(load_settings({"data_dir": tmp_path}).settings)


def test_a_database_that_does_not_answer_is_no_wrong_setting(tmp_path: Path) -> None:
    url = f"postgresql://u:secret@127.0.0.1:{free_port()}/db"
    with pytest.raises(Unavailable, match=r"^database_url: the database does not answer: .*refused") as refused:
        check_stores(load_settings({"data_dir": tmp_path, "database_url": url}).settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("command", ["serve", "learner", "verify", "backup b", "restore b", "import file", "keys list"])
def test_every_command_says_it_in_one_line(
    tmp_path: Path, places: dict[str, str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").mkdir()
    words = [*command.split(), "--set", f"port={free_port()}", "--set"]
    refused = CliRunner().invoke(cli, [*words, "database_url=mysql://h/db"])
    assert (refused.exit_code, refused.stderr) == (
        2,
        "everclass: database_url: the database cannot be mysql://…; sqlite:///… and postgresql://… can\n",
    )
    away = CliRunner().invoke(cli, [*words, f"database_url=postgresql://127.0.0.1:{free_port()}/db"])
    assert (away.exit_code, away.stderr.count("\n")) == (7, 1)
    assert "everclass: database_url: the database does not answer" in away.stderr


def test_a_learner_of_a_server_says_it_in_one_line_too(places: dict[str, str]) -> None:
    settings = load_settings({"data_dir": places["file"]}).settings
    done = subprocess.run(
        [sys.executable, "-m", "service.learner"], env=child_environment(settings), capture_output=True, text=True
    )
    why = f"data_dir: {settings.root}/everclass.db cannot be used: unable to open database file"
    assert (done.returncode, done.stderr) == (1, f"the learner cannot start: {why}\n")
