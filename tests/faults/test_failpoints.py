"""Killed at each named point in turn, and started again: nothing acknowledged is lost, nothing is half-written."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from stream import failpoints
from stream.blobs import FolderBlobs
from stream.errors import Unavailable
from stream.failpoints import POINTS, VARIABLE, Point
from tests.faults.children import IMAGES, diary_of, live
from tests.faults.invariants import broken, final_parts, left_over
from tests.taught import Taught

LABELS = {label for _, label in IMAGES}
KILLED = -signal.SIGKILL
OFTEN = ("file.", "folder.", "commit.", "lease.", "sweep.")
"""Points that are reached many times, and not in every life equally often: a sweep that is told to stop does less.

There the process is killed at the first and at the middle one."""


@dataclass(frozen=True)
class Undisturbed:
    """How often a life comes by each point, and the parts of the final version that it makes."""

    reached: dict[str, int]
    parts: list[dict[str, str]]


@pytest.fixture(scope="module")
def undisturbed(taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = taught.copied(tmp_path_factory.mktemp("undisturbed") / "data")
    assert live(folder, "") == 0
    (reached,) = diary_of(folder).all("reached")
    assert isinstance(reached, dict)
    assert invariants(folder) == []
    return Undisturbed(reached, final_parts(folder, LABELS))


def invariants(folder: Path) -> list[str]:
    """What does not hold in the folder, going by the diary of those who lived on it."""
    diary = diary_of(folder)
    return broken(folder, diary.all("accepted"), diary.all("promoted"))


def test_a_life_comes_by_every_point(undisturbed: Undisturbed) -> None:
    assert set(undisturbed.reached) == set(POINTS)
    assert len(undisturbed.parts) == 1


@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_there_the_next_start_comes_to_the_same_end(
    point: Point, taught: Taught, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    often = undisturbed.reached[point]
    for time in (1, 1 + often // 2) if point.startswith(OFTEN) else (often,):
        folder = taught.copied(tmp_path / str(time) / "data")
        assert live(folder, f"{point}:{time}") == KILLED
        assert invariants(folder) == []
        assert live(folder, "", first=False) == 0
        assert invariants(folder) == []
        made = final_parts(folder, LABELS)
        assert made == (undisturbed.parts if diary_of(folder).all("accepted") or made else [])
        assert left_over(folder) == []


def test_what_a_killed_writer_left_behind_is_swept(taught: Taught, tmp_path: Path) -> None:
    folder = taught.copied(tmp_path / "data")
    assert live(folder, "file.written:20") == KILLED
    half = [path for path in (folder / "blobs").rglob(".*") if path.is_file()]
    assert half
    assert left_over(folder) == []
    assert not any(path.exists() for path in half)


def test_an_error_is_raised_where_it_was_ordered_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failpoints, "_armed", None)
    blobs = FolderBlobs(tmp_path)
    armed = failpoints.arm("file.flushed:2=error")
    blobs.put_bytes("notes/one", b"1")
    with pytest.raises(Unavailable, match=r"failpoint file\.flushed"):
        blobs.put_bytes("notes/two", b"2")
    assert armed.reached["file.flushed"] == 2
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["one"]


def test_points_are_armed_by_the_environment_alone() -> None:
    program = "from stream import failpoints; failpoints.reach('commit.before'); print('alive')"
    for orders, status in (({}, 0), ({VARIABLE: "commit.before:2"}, 0), ({VARIABLE: "commit.before"}, KILLED)):
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE} | orders
        assert subprocess.run([sys.executable, "-c", program], env=environment).returncode == status


@pytest.mark.parametrize("orders", ["no.such", "commit.before=explode", "commit.before:soon"])
def test_orders_that_name_nothing_are_refused(orders: str) -> None:
    with pytest.raises(ValueError, match=VARIABLE):
        failpoints.Failpoints.parse(orders)
