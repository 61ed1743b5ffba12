"""`everclass keys` on a database, without a server."""

import errno
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from everclass.commands.keys import span
from everclass.main import cli
from service.settings import load_settings
from stream.keys import TOKEN
from stream.ledger import Ledger


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["keys", *words, "--data-dir", str(folder)])


def test_a_key_alone_stands_on_stdout_and_never_again(tmp_path: Path) -> None:
    made = run(tmp_path, "create", "--scope", "learn", "--name", "ci", "--rate", "5", "--images-per-day", "1000")
    token = made.stdout.strip()
    assert (made.exit_code, bool(TOKEN.fullmatch(token))) == (0, True)
    assert "(ci, learn): keep it now" in made.stderr
    for words in (["list"], ["list", "--json"], [], ["revoke", "ci"], ["revoke", token.split("_")[1], "--json"]):
        said = run(tmp_path, *words)
        assert said.exit_code == 0
        assert token.split("_", 2)[2] not in said.output
        assert "digest" not in said.output


def test_a_key_may_go_into_a_file_of_its_owner_and_nowhere_else(tmp_path: Path) -> None:
    file = tmp_path / "ci.key"
    made = run(tmp_path, "create", "--scope", "learn", "--name", "ci", "--to", str(file))
    token = file.read_text().strip()
    assert (made.exit_code, made.stdout, bool(TOKEN.fullmatch(token))) == (0, "", True)
    assert token.split("_", 2)[2] not in made.output
    assert file.stat().st_mode & 0o777 == 0o600
    assert f"it stands in {file}" in made.stderr
    again = run(tmp_path, "create", "--scope", "learn", "--name", "other", "--to", str(file))
    assert (again.exit_code, file.read_text().strip()) == (2, token)
    assert "File exists" in again.stderr
    refused = run(tmp_path, "create", "--scope", "learn", "--name", "ci", "--to", str(tmp_path / "new"))
    assert (refused.exit_code, (tmp_path / "new").exists()) == (5, False)
    told = json.loads(run(tmp_path, "create", "--scope", "learn", "--name", "b", "--to", f"{file}2", "--json").stdout)
    assert "key" not in told
    assert [key["name"] for key in json.loads(run(tmp_path, "list", "--json").stdout)["items"]] == ["ci", "b"]


def test_a_key_that_its_file_did_not_take_is_of_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "list")
    file = tmp_path / "ci.key"

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    made = run(tmp_path, "create", "--scope", "learn", "--name", "ci", "--to", str(file))
    assert (made.exit_code != 0, file.exists()) == (True, False)
    assert "cannot be written, and the key is revoked: No space left on device" in made.stderr
    [key] = json.loads(run(tmp_path, "list", "--json").stdout)["items"]
    assert (key["name"], key["state"]) == ("ci", "revoked")


def test_keys_are_listed_with_their_state_and_quotas(tmp_path: Path) -> None:
    run(tmp_path, "create", "--scope", "predict", "--name", "edge", "--expires", "30d", "--rate", "2.5")
    run(tmp_path, "create", "--scope", "admin", "--name", "boss")
    run(tmp_path, "revoke", "boss")
    edge, boss = json.loads(run(tmp_path, "list", "--json").stdout)["items"]
    assert (edge["name"], edge["scope"], edge["state"], edge["rate"]) == ("edge", "predict", "in use", 2.5)
    left = datetime.fromisoformat(edge["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)
    assert (boss["state"], boss["images_per_day"], boss["expires_at"]) == ("revoked", None, None)
    table = run(tmp_path, "list").stdout
    assert "edge" in table and "in use" in table and "revoked" in table


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["create", "--scope", "learn", "--name", "ci"], 5, "a key called ci is in use"),
        (["create", "--scope", "learn", "--name", "local"], 6, "name: local stands for something else"),
        (["create", "--scope", "learn", "--name", "x", "--rate", "0"], 6, "rate: a rate is a number above 0"),
        (["create", "--scope", "all", "--name", "x"], 2, "'all' is not one of"),
        (["create", "--scope", "learn"], 2, "--name"),
        (["create", "--scope", "learn", "--name", "x", "--expires", "soon"], 2, "not a number of m, h or d"),
        (["revoke", "nobody"], 4, "there is no key nobody"),
        (["list", "--set", "database_url=mysql://x/y"], 2, "the database cannot be mysql"),
        (["list", "--set", "database_url=postgresql://localhost:1/x"], 7, "the database does not answer"),
    ],
)
def test_what_cannot_be_done_says_why(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    assert run(tmp_path, "create", "--scope", "predict", "--name", "ci").exit_code == 0
    done = run(tmp_path, *words)
    assert (done.exit_code, said in done.output) == (code, True), done.output


def test_spans_have_a_unit() -> None:
    assert [span("90m"), span("12h"), span("30d")] == [timedelta(minutes=90), timedelta(hours=12), timedelta(days=30)]
    for wrong in ("30", "0d", "-1d", "1w", "1 d", "9999999d", ""):
        with pytest.raises(click.BadParameter):
            span(wrong)


def test_what_is_done_to_keys_stands_in_the_audit_log(tmp_path: Path) -> None:
    run(tmp_path, "create", "--scope", "learn", "--name", "ci")
    run(tmp_path, "revoke", "ci")
    ledger = Ledger.open(load_settings({"data_dir": tmp_path}).settings.database)
    revoked, created = ledger.audit().items
    ledger.close()
    assert (created.route, revoked.route) == ("everclass keys create", "everclass keys revoke")
    assert created.object is not None and created.object.endswith(" ci learn") and created.name and created.key is None


def test_the_data_folder_is_its_owners_alone(tmp_path: Path) -> None:
    place = tmp_path / "data"
    run(place, "create", "--scope", "learn", "--name", "ci")
    assert [oct(path.stat().st_mode & 0o077) for path in (place, place / "everclass.db")] == ["0o0", "0o0"]
