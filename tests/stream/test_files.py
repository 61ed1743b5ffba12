"""A file is there whole and durable, or not at all."""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream import files
from stream.blobs import FolderBlobs
from stream.errors import StorageFull


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of what was flushed, in order."""
    names: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        names.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return names


def test_a_file_is_flushed_before_it_has_its_name_and_the_folder_after(tmp_path: Path, flushed: list[str]) -> None:
    files.write(tmp_path / "some" / "where" / "file", b"content")
    assert (tmp_path / "some/where/file").read_bytes() == b"content"
    assert flushed[:2] == [str(tmp_path), str(tmp_path / "some")]
    assert flushed[2].startswith(str(tmp_path / "some/where/.file."))
    assert flushed[3:] == [str(tmp_path / "some/where")]


def test_a_file_is_replaced_at_once(tmp_path: Path) -> None:
    files.write(tmp_path / "file", b"old")
    files.write(tmp_path / "file", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


def test_many_blobs_flush_their_folder_once(tmp_path: Path, flushed: list[str]) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    flushed.clear()
    blobs.put_many([(f"tasks/t1/{number}", b"x") for number in range(10)])
    folder = str(tmp_path / "blobs/tasks/t1")
    assert flushed[-1] == folder
    assert flushed.count(folder) == 1
    assert sum(name.startswith(f"{folder}/.") for name in flushed) == 10


def test_a_folder_that_another_writer_made_is_made_durable_too(tmp_path: Path, flushed: list[str]) -> None:
    """Whoever made it may not have come to flush the folder that it lies in."""
    blobs = FolderBlobs(tmp_path / "blobs")
    (tmp_path / "blobs/tasks/t1").mkdir(parents=True)
    flushed.clear()
    blobs.put_bytes("tasks/t1/image", b"x")
    assert str(tmp_path / "blobs/tasks") in flushed


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_is_named_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(number, "no room")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match=str(tmp_path)):
        files.place(tmp_path / "file", b"content")
    assert list(tmp_path.iterdir()) == []


def test_other_failures_keep_their_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.place(tmp_path / "nowhere" / "file", b"content")
    with pytest.raises(FileNotFoundError):
        files.place(tmp_path / "file", tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


def test_a_file_from_another_disk_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.name == "upload":
            raise OSError(errno.EXDEV, "another disk")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    upload = tmp_path / "upload"
    upload.write_bytes(b"content")
    files.place(tmp_path / "file", upload)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_folder_that_vanishes_under_a_writer_is_made_again(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    blobs.put_bytes("tasks/t1/a", b"x")
    shutil.rmtree(tmp_path / "blobs/tasks/t1")
    blobs._write(tmp_path / "blobs/tasks/t1/b", b"y")
    assert blobs.get("tasks/t1/b") == b"y"


def test_temporary_files_of_a_crash_are_not_listed(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    blobs.put_bytes("tasks/t1/a", b"x")
    (tmp_path / "blobs/tasks/t1/.b.1234").write_bytes(b"half")
    assert [blob.key for blob in blobs.list("tasks/")] == ["tasks/t1/a"]


def test_a_file_is_as_new_as_its_name(tmp_path: Path) -> None:
    """Or a sweep would take what was long on its way in for something that nobody wants."""
    upload = tmp_path / "upload"
    upload.write_bytes(b"image")
    os.utime(upload, (0, 0))
    files.place(tmp_path / "blob", upload)
    assert time.time() - (tmp_path / "blob").stat().st_mtime < 60
