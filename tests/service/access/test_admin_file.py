"""A first admin key from a file."""

from pathlib import Path

import pytest

from service.access.admin_file import read_admin_digest, warn_if_readable
from service.settings import WrongSettings
from stream.keys import digest_of
from tests.service.access.keys import shown
from tests.service.conftest import Serve

TOKEN = "dGhpcyBpcyBhIHNlY3JldCBmcm9tIGEgdmF1bHQuLi4="


def key_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "admin.key"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def test_its_digest_is_kept_and_white_space_around_it_does_not_count(tmp_path: Path) -> None:
    assert read_admin_digest(key_file(tmp_path, f"  {TOKEN}\n")) == digest_of(TOKEN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has to hold one key of 32"),
        ("short", "has to hold one key of 32"),
        (f"{TOKEN}\n{TOKEN}", "has to hold one key of 32"),
        ("x" * 513, "has to hold one key of 32"),
        ("é" * 40, "is not ASCII"),
    ],
)
def test_what_is_no_key_is_refused_by_the_name_of_the_setting(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(WrongSettings, match=rf"keys\.admin_file: .*{words}"):
        read_admin_digest(key_file(tmp_path, text))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongSettings, match=r"keys\.admin_file: .* cannot be read: No such file"):
        read_admin_digest(tmp_path / "none")


def test_a_file_that_everyone_may_write_is_refused_and_one_that_everyone_may_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(WrongSettings, match="everyone on this machine may write"):
        read_admin_digest(key_file(tmp_path, TOKEN, 0o666))
    warn_if_readable(key_file(tmp_path, TOKEN, 0o600))
    assert caplog.text == ""
    warn_if_readable(key_file(tmp_path, TOKEN, 0o644))
    assert "everyone on this machine may read" in caplog.text
    assert TOKEN not in caplog.text


def test_a_server_with_such_a_file_asks_for_keys_from_the_start(serve: Serve, tmp_path: Path) -> None:
    client = serve(keys__admin_file=key_file(tmp_path, TOKEN))
    assert client.get("/promotions").status_code == 401
    assert client.get("/promotions", headers=shown("x" * 44)).status_code == 401
    assert client.post("/tasks", json={}, headers=shown(TOKEN)).json()["by"] == "admin file"
    assert client.get("/audit", headers=shown(TOKEN)).json()["items"][-1]["name"] == "admin file"
