"""The power goes: what was acknowledged is there, nothing is half there, and no fsync could have been left out."""

import pytest

from stream.failpoints import Point
from tests.faults.disk.disk import Disk, Stage

POINTS: tuple[Point, ...] = (
    "file.written",
    "file.flushed",
    "file.renamed",
    "folder.unflushed",
    "folder.flushed",
    "commit.before",
    "commit.after",
    "intake.stored",
    "intake.accepted",
)


@pytest.mark.parametrize("scene", ["arrive", "publish"])
def test_what_was_acknowledged_survives_a_power_cut(stage: Stage, disk: Disk, scene: str) -> None:
    assert stage.after(disk, scene) == []


@pytest.mark.parametrize("time", [1, 3])
@pytest.mark.parametrize("point", POINTS)
def test_a_power_cut_at_any_point_leaves_nothing_half_done(stage: Stage, disk: Disk, point: Point, time: int) -> None:
    assert stage.after(disk, "publish", orders=f"{point}:{time}") == []


@pytest.mark.parametrize(
    ("scene", "deaf"),
    [
        ("arrive", "f:data/blobs/tasks/*"),
        ("arrive", "d:data/blobs/tasks/*"),
        ("arrive", "d:data/blobs/tasks"),
        ("arrive", "d:data/blobs"),
        ("arrive", "d:data"),
        ("arrive", "d:"),
        ("arrive", "f:data/everclass.db"),
        ("publish", "f:data/everclass.db-wal"),
        ("publish", "f:data/blobs/parts/*"),
        ("publish", "d:data/blobs/parts"),
        ("publish", "f:data/blobs/manifests/*"),
        ("publish", "d:data/blobs/manifests"),
        ("publish", "f:data/blobs/checkpoints/*"),
        ("publish", "d:data/blobs/checkpoints/*"),
        ("publish", "d:data/blobs/checkpoints"),
    ],
)
def test_no_fsync_could_be_left_out(stage: Stage, disk: Disk, scene: str, deaf: str) -> None:
    assert stage.after(disk, scene, deaf=deaf) != []
