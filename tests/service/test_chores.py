"""Open tasks that their client left: committed by age where configured, given up in the end."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.chores import Chores
from service.settings import load_settings
from stream.blobs import open_blobs
from stream.intake import Intake
from stream.ledger import Ledger, Quota
from stream.tasks import NewTask
from tests import digits

HOUR = timedelta(hours=1)


class World:
    """A ledger whose clock is set by hand."""

    def __init__(self, folder: Path, **flags: object) -> None:
        named = {name.replace("__", "."): value for name, value in flags.items()}
        self.settings = load_settings({"data_dir": folder, **named}).settings
        self.time = datetime.now(UTC)
        self.ledger = Ledger.open(self.settings.database, clock=lambda: self.time)
        self.intake = Intake(self.ledger, open_blobs(self.settings.blobs, folder), self.settings.incoming)
        self.chores = Chores(self.ledger, self.settings)

    def open_task(self, *, images: int) -> str:
        if not images:
            return self.ledger.create_task(by="test").id
        with self.intake.staging() as staging:
            for number in range(images):
                staging.add(f"images[{number}]", "a", None, digits.pngs(0)[number])
            return staging.accept(commit=False, new_task=NewTask(staging.task_id, "test")).id

    def state(self, task_id: str) -> str:
        return self.ledger.task(task_id).state.value


def test_an_old_open_task_with_images_is_committed_where_so_configured(tmp_path: Path) -> None:
    world = World(tmp_path, learn__commit_minutes=30)
    world.time -= HOUR
    full, empty = world.open_task(images=1), world.open_task(images=0)
    world.time += HOUR
    young = world.open_task(images=1)
    world.chores.turn()
    assert [world.state(task) for task in (full, empty, young)] == ["queued", "open", "open"]


def test_an_open_task_is_given_up_when_it_is_too_old(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.time -= 25 * HOUR
    old = world.open_task(images=1)
    world.time += 2 * HOUR
    young = world.open_task(images=1)
    world.time += 23 * HOUR
    world.chores.turn()
    assert [world.state(task) for task in (old, young)] == ["cancelled", "open"]


def test_many_open_tasks_are_all_looked_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, learn__commit_minutes=30)
    world.time -= HOUR
    tasks = [world.open_task(images=1) for _ in range(3)]
    monkeypatch.setattr("service.chores.PAGE", 2)
    world.chores.turn()
    assert {world.state(task) for task in tasks} == {"queued"}


def test_what_a_killed_upload_left_goes_in_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    old, young = world.settings.incoming / "upload-old", world.settings.incoming / "upload-young"
    for place in (old, young):
        place.mkdir(parents=True)
        (place / "part-000000").write_bytes(b"image")
    os.utime(old, (0, 0))
    world.chores.turn()
    assert not old.exists() and young.exists()


def test_a_full_queue_keeps_no_open_task_from_being_given_up(tmp_path: Path) -> None:
    world = World(tmp_path, learn__commit_minutes=1, limits__open_hours=2)
    world.ledger.close()
    world.ledger = Ledger.open(world.settings.database, clock=lambda: world.time, quota=Quota(queued_tasks=0))
    world.intake = Intake(world.ledger, open_blobs(world.settings.blobs, tmp_path), world.settings.incoming)
    world.chores = Chores(world.ledger, world.settings)
    due, empty = world.open_task(images=1), world.open_task(images=0)
    world.time += 3 * HOUR
    world.chores.turn()
    assert [world.state(task) for task in (due, empty)] == ["cancelled", "cancelled"]
