"""Sources are read in a process of their own, with the same items and errors, and ended where they go too far."""

import io
import tarfile
import zipfile
from pathlib import Path

import psutil
import pytest

from model.pixels.decoding import needed_environment
from stream.errors import InvalidContent, QuotaFull, TooLarge
from stream.sources import SourceLimits, read_archive
from stream.sources.apart import Apart

LIMITS = SourceLimits(files=10, file_bytes=1 << 20)


def apart(seconds: float = 20.0, limits: SourceLimits = LIMITS) -> Apart:
    return Apart(limits, seconds, needed_environment(), 2)


def zipped(folder: Path, *names: str, content: bytes = b"x") -> Path:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def test_the_items_are_those_that_the_reader_gives(tmp_path: Path) -> None:
    path = zipped(tmp_path, "cat/a.png", "k\u00e4fer/\u732b.png", "cat/line\nend.png")
    assert list(apart().read("archive", path, "ann")) == list(read_archive(path, LIMITS))


def test_what_is_wrong_is_said_in_the_readers_words(tmp_path: Path) -> None:
    path = zipped(tmp_path, "cat/a.png", "top.png")
    with pytest.raises(InvalidContent) as theirs:
        list(read_archive(path, LIMITS))
    with pytest.raises(InvalidContent) as ours:
        list(apart().read("archive", path, "ann"))
    assert ours.value.errors == theirs.value.errors
    with pytest.raises(TooLarge, match="more than 10 files"):
        list(apart().read("archive", zipped(tmp_path, *(f"cat/{number}.png" for number in range(11))), "ann"))


def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.xz"
    with tarfile.open(path, "w:xz", preset=0) as archive:
        for number in range(20):
            info = tarfile.TarInfo(f".hidden{number}")
            info.size = 8 << 20
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    limits = SourceLimits(file_bytes=9 << 20, ratio=1e9)
    with pytest.raises(InvalidContent, match="more memory or time"):
        list(apart(0.02, limits).read("archive", path, "ann"))


def test_who_stops_listening_leaves_no_process_behind(tmp_path: Path) -> None:
    path = zipped(tmp_path, *(f"cat/{number}.png" for number in range(10)), content=bytes(1 << 20))
    before = set(psutil.Process().children())
    items = apart().read("archive", path, "ann")
    assert next(items).name == "cat/0.png"
    assert len(set(psutil.Process().children()) - before) == 1
    items.close()  # type: ignore[attr-defined]
    assert set(psutil.Process().children()) <= before


def test_who_has_many_under_way_leaves_places_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.sources.apart.WAIT_S", 0.1)
    path = zipped(tmp_path, "cat/a.png", "cat/b.png")
    readers = Apart(LIMITS, 20.0, needed_environment(), 2)
    first = readers.read("archive", path, "ann")
    next(first)
    with pytest.raises(QuotaFull):
        next(readers.read("archive", path, "ann"))
    assert len(list(readers.read("archive", path, "bob"))) == 2
    list(first)
    assert len(list(readers.read("archive", path, "ann"))) == 2


def test_a_reader_that_fails_is_no_fault_of_the_sender(tmp_path: Path) -> None:
    path = zipped(tmp_path, "cat/a.png")
    environment = needed_environment() | {"PYTHONPATH": str(broken(tmp_path))}
    with pytest.raises(RuntimeError, match="the reader of archives failed"):
        list(Apart(LIMITS, 20.0, environment, 1).read("archive", path, "ann"))


def broken(folder: Path) -> Path:
    """A library of Python in which zipfile cannot be brought in."""
    (folder / "zipfile.py").write_text("raise RuntimeError\n")
    return folder
