"""A backup is a server's knowledge at one moment, from either database and store into either, whole or refused."""

import shutil
from pathlib import Path

import pytest

from stream.backup import CONTENTS, LEDGER, NoBackup, back_up, restore
from stream.blobs import Blobs, FolderBlobs
from stream.errors import Conflict
from stream.ledger import Ledger
from stream.verification import verify
from tests.stream.stories import in_force, learner
from tests.stream.test_retention import learn, upload


def taught(ledger: Ledger, blobs: Blobs) -> None:
    """Two tasks learned, a third in the queue, its learner at work."""
    lease = learner(ledger)
    learn(ledger, blobs, lease, "cat", "dog")
    learn(ledger, blobs, lease, "emu")
    upload(ledger, blobs, "cow")


def facts(ledger: Ledger) -> tuple[object, ...]:
    """All that a ledger says, but who holds which lease."""
    tasks = ledger.tasks().items
    items = [ledger.items(task.id) for task in tasks]
    return tasks, items, ledger.versions().items, ledger.promotions().items, ledger.aliases(), ledger.all_keys()


def spoil(path: Path) -> None:
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "blobs").rglob("*") if path.is_file())


def test_what_is_restored_is_what_was(ledger: Ledger, blobs: Blobs, tmp_path: Path) -> None:
    taught(ledger, blobs)
    told: list[tuple[int, int]] = []
    copied = back_up(ledger, blobs, tmp_path / "backup", on_blob=lambda *done: told.append(done))
    assert copied.missing == () and copied.blobs == copied.fresh == len(told)
    there = FolderBlobs(tmp_path / "there")
    url = f"sqlite:///{tmp_path}/there.db"
    assert restore(tmp_path / "backup", url, there).blobs == copied.blobs
    again = Ledger.open(url)
    assert facts(again) == facts(ledger)
    assert verify(again, there).sound
    lease = learner(again, owner="another", host="elsewhere")
    assert lease.token == 2, "fences go on from where they were"
    learn(again, there, lease, "fox")
    assert in_force(again) == 6, "the task that waited was learned first"
    again.close()


def test_a_backup_goes_into_either_kind_of_database_and_store(database_url: str, blobs: Blobs, tmp_path: Path) -> None:
    source, store = Ledger.open(f"sqlite:///{tmp_path}/source.db"), FolderBlobs(tmp_path / "source")
    taught(source, store)
    back_up(source, store, tmp_path / "backup")
    restore(tmp_path / "backup", database_url, blobs)
    target = Ledger.open(database_url)
    assert facts(target) == facts(source)
    assert verify(target, blobs).sound
    target.close()
    source.close()


def test_the_next_backup_takes_only_what_is_new_and_drops_what_went(ledger: Ledger, tmp_path: Path) -> None:
    blobs, folder = FolderBlobs(tmp_path / "blobs"), tmp_path / "backup"
    lease = learner(ledger)
    learn(ledger, blobs, lease, "cat")
    first = back_up(ledger, blobs, folder)
    learn(ledger, blobs, lease, "dog")
    ledger.delete_version(1)
    second = back_up(ledger, blobs, folder)
    assert 0 < second.fresh < second.blobs
    assert len(files_of(folder)) == second.blobs
    assert first.blobs + second.fresh > second.blobs
    assert back_up(ledger, blobs, folder).fresh == 0


def test_what_is_missing_is_named_and_the_rest_is_there(ledger: Ledger, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    taught(ledger, blobs)
    (gone, *_) = [path for path in files_of(tmp_path) if "parts" in path.parts]
    spoil(gone)
    copied = back_up(ledger, blobs, tmp_path / "backup")
    assert copied.missing == (f"parts/{gone.name}",)
    restore(tmp_path / "backup", f"sqlite:///{tmp_path}/there.db", FolderBlobs(tmp_path / "there"))


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A finished backup."""
    ledger, blobs = Ledger.open(f"sqlite:///{tmp_path}/source.db"), FolderBlobs(tmp_path / "source")
    taught(ledger, blobs)
    back_up(ledger, blobs, tmp_path / "backup")
    ledger.close()
    return tmp_path / "backup"


def refused(backup: Path, why: str) -> None:
    """Restoring says why not, and has brought no database with anything in it."""
    place = backup.parent / "there"
    with pytest.raises(NoBackup, match=why):
        restore(backup, f"sqlite:///{place}.db", FolderBlobs(place))
    ledger = Ledger.open(f"sqlite:///{place}.db")
    ledger.check_empty()
    ledger.close()


def test_an_unfinished_or_damaged_backup_is_refused(backup: Path) -> None:
    whole = backup.rename(backup.with_name("whole"))
    spoilt = {
        "no finished backup": lambda: (backup / CONTENTS).unlink(),
        "is damaged: ": lambda: (backup / CONTENTS).write_text("{}"),
        "missing or damaged": lambda: spoil(backup / LEDGER),
        "the backup is damaged": lambda: spoil(files_of(backup)[0]),
        "there is no blob": lambda: files_of(backup)[-1].unlink(),
    }
    for why, act in spoilt.items():
        shutil.copytree(whole, backup)
        act()
        refused(backup, why)
        shutil.rmtree(backup)


def test_nothing_is_restored_over_something(backup: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/there.db"
    ledger = Ledger.open(url)
    learner(ledger)
    with pytest.raises(Conflict, match="running"):
        restore(backup, url, FolderBlobs(tmp_path / "there"))
    upload(ledger, FolderBlobs(tmp_path / "there"), "ant")
    ledger.close()
    other = f"sqlite:///{tmp_path}/other.db"
    with pytest.raises(Conflict, match="other tasks among the blobs"):
        restore(backup, other, FolderBlobs(tmp_path / "there"))
    restore(backup, other, FolderBlobs(tmp_path / "elsewhere"))
    with pytest.raises(Conflict, match="not empty"):
        restore(backup, other, FolderBlobs(tmp_path / "elsewhere"))


def test_half_a_restore_is_done_again(backup: Path, tmp_path: Path) -> None:
    place = tmp_path / "there"
    shutil.copytree(backup / "blobs" / "manifests", place / "manifests")
    assert restore(backup, f"sqlite:///{tmp_path}/there.db", FolderBlobs(place)).missing == ()


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_backup_is_not_replaced_by_a_server_that_knows_less(
    backup: Path, ledger: Ledger, blobs: Blobs, tmp_path: Path
) -> None:
    before = everything(backup)
    with pytest.raises(Conflict, match="another server"):
        back_up(ledger, blobs, backup)
    learn(ledger, blobs, learner(ledger), "fox")
    with pytest.raises(Conflict, match="another server"):
        back_up(ledger, blobs, backup)
    assert everything(backup) == before
    (backup / CONTENTS).unlink()
    with pytest.raises(Conflict, match="another server"):
        back_up(ledger, blobs, backup)


def test_what_was_restored_is_the_same_server_and_goes_on_in_its_backup(backup: Path, tmp_path: Path) -> None:
    url, blobs = f"sqlite:///{tmp_path}/there.db", FolderBlobs(tmp_path / "there")
    restore(backup, url, blobs)
    again = Ledger.open(url)
    learn(again, blobs, learner(again, owner="another", host="elsewhere"), "fox")
    assert back_up(again, blobs, backup).missing == ()
    again.close()
    earlier, store = Ledger.open(f"sqlite:///{tmp_path}/source.db"), FolderBlobs(tmp_path / "source")
    with pytest.raises(Conflict, match="a later state of this one"):
        back_up(earlier, store, backup)
    earlier.close()


def test_a_backup_of_which_nobody_can_tell_whose_it_is_stays(backup: Path, ledger: Ledger, blobs: Blobs) -> None:
    database = (backup / LEDGER).read_bytes()
    for content in (b"no database at all" * 99, b""):
        (backup / LEDGER).write_bytes(content)
        with pytest.raises(NoBackup, match="missing or damaged"):
            back_up(ledger, blobs, backup)
    (backup / CONTENTS).unlink()
    for content in (b"no database at all" * 99, b""):
        (backup / LEDGER).write_bytes(content)
        with pytest.raises(NoBackup, match="missing or damaged"):
            back_up(ledger, blobs, backup)
    (backup / LEDGER).unlink()
    with pytest.raises(NoBackup, match="holds blobs"):
        back_up(ledger, blobs, backup)
    (backup / LEDGER).write_bytes(database)
    assert files_of(backup)


def test_a_folder_with_something_else_is_left_alone(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"1")
    with pytest.raises(NoBackup, match=r"cat\.jpg"):
        back_up(ledger, FolderBlobs(tmp_path / "blobs"), tmp_path / "photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]
