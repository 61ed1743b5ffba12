"""`everclass verify` says what is wrong in words and in JSON, and ends with what scripts can use."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from everclass.main import cli
from stream.blobs import FolderBlobs
from stream.ledger import Ledger
from tests.stream.stories import learner
from tests.stream.test_retention import learn


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder as a server leaves it, with two versions."""
    from service.settings import load_settings

    settings = load_settings({"data_dir": tmp_path / "data"}).settings
    settings.root.mkdir(parents=True)
    ledger = Ledger.open(settings.database)
    learn(ledger, FolderBlobs(settings.root / "blobs"), learner(ledger), "cat")
    ledger.close()
    return tmp_path / "data"


def verify(data_dir: Path, *more: str) -> Result:
    return CliRunner().invoke(cli, ["verify", "--data-dir", str(data_dir), *more], catch_exceptions=False)


def test_what_is_whole_ends_with_0(data_dir: Path) -> None:
    done = verify(data_dir)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "0 at fault" in done.stdout


def test_a_folder_without_a_database_is_wrong_use_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "gone", tmp_path / "empty"):
        done = verify(place)
        assert done.exit_code == 2 and "no server has kept anything in" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_what_is_missing_is_named_and_ends_with_1(data_dir: Path) -> None:
    part = next((data_dir / "blobs" / "parts").rglob("*"))
    while part.is_dir():
        part = next(part.iterdir())
    part.unlink()
    looked = json.loads(verify(data_dir, "--json", "--no-mark").stdout)
    assert looked["damaged"] == [] and {one["fault"] for one in looked["findings"]} == {"missing"}
    done = verify(data_dir)
    assert done.exit_code == 1
    assert part.name in done.stdout and "marked as damaged: version" in done.stdout
