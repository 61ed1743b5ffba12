"""A learner forgets a class: judged, promoted, cancelled and taken up again like any task; purged to the last byte."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.learner import reporter
from stream.errors import Conflict, NotFound
from stream.failpoints import VARIABLE
from stream.ledger import Lease
from stream.manifest import load_manifest, load_parts
from stream.tasks import Phase, Task
from stream.verification import verify
from stream.versions import Version
from tests.digits import labelled
from tests.service.learner.world import World
from tests.taught import Taught

LEARN = "import sys; from tests.service.learner.test_forgetting import learn_in; learn_in(sys.argv[1])"


@pytest.fixture
def world(taught: Taught, tmp_path: Path) -> Iterator[World]:
    """Digits 0 to 5, in three tasks; version 6 serves."""
    of_six = World.new(tmp_path, taught.folder)
    yield of_six
    of_six.close()


def learn_in(folder: str) -> None:
    """What a child does: learn all that waits in the world of this folder."""
    world = World.new(Path(folder))
    world.learn_all()
    world.close()


def forget(world: World, label: str, *, purge: bool = False) -> tuple[Task, list[Version]]:
    task = world.ledger.forget(label, by="test", purge=purge)
    world.learn_all()
    task = world.ledger.task(task.id)
    return task, [world.ledger.version(number) for number in task.versions]


def serving(world: World) -> int:
    found = world.ledger.serving()
    assert found is not None
    return found.version


def stored(world: World) -> set[str]:
    blobs = world.settings.root / "blobs"
    return {path.relative_to(blobs).as_posix() for path in blobs.rglob("*") if path.is_file()}


def images_of(world: World, label: str) -> list[str]:
    return [
        item.key(task.id)
        for task in world.ledger.tasks().items
        for item in world.ledger.items(task.id)
        if item.label == label and world.blobs.exists(item.key(task.id))
    ]


def test_a_version_without_the_class_takes_over(world: World) -> None:
    base = world.ledger.version(serving(world))
    task, (made,) = forget(world, "2")
    assert (task.kind, task.state, task.images, task.labels, task.base) == ("forget", "done", 0, {"2": 0}, base.version)
    assert (made.kind, made.state, made.parent, made.labels) == ("final", "ready", base.version, tuple("01345"))
    assert serving(world) == made.version
    assert [one.images for one in made.classes] == [one.images for one in base.classes if one.label != "2"]
    assert world.ledger.promotions().items[0].lost == ("2",)
    held = sum(row.images for row in made.accuracy_per_task)
    assert held == sum(row.images for row in base.accuracy_per_task) - len(images_of(world, "2"))
    assert images_of(world, "2"), "the older versions still know the class, and are judged by its images"


def test_learned_again_it_is_a_new_class_with_nothing_of_the_old(world: World) -> None:
    forget(world, "2")
    task, versions = world.learn(labelled(2, 7, count=10, start=20))
    (again,) = [one for one in versions[-1].classes if one.label == "2"]
    assert (again.since, again.images) == (task.id, 9)
    judging = {item.label: brought for brought, item in world.ledger.held_out(versions[-1].version)}
    assert judging["2"] == task.id


def test_the_gate_judges_it_by_the_other_classes(taught: Taught, tmp_path: Path) -> None:
    world = World.new(tmp_path, taught.folder, gate__enabled=True)
    _, (made,) = forget(world, "5")
    assert {check["name"] for check in made.gate["checks"]} >= {"base"}
    assert "new_classes" not in {check["name"] for check in made.gate["checks"]}
    world.close()


def test_what_cannot_be_forgotten_is_refused_at_once(world: World) -> None:
    with pytest.raises(NotFound, match="class 9"):
        world.ledger.forget("9", by="test")
    waiting = world.ledger.forget("1", by="test")
    with pytest.raises(Conflict, match=waiting.id):
        world.ledger.forget("1", by="test")
    world.ledger.cancel(waiting.id, by="test")
    for label in "1234":
        forget(world, label)
    forget(world, "5")
    with pytest.raises(Conflict, match="only class"):
        world.ledger.forget("0", by="test")


def test_a_task_whose_base_does_not_know_the_class_any_more_fails_with_its_reason(world: World) -> None:
    task = world.ledger.forget("5", by="test")
    world.ledger.move_alias("serving", 2, by="test")
    world.learn_all()
    task = world.ledger.task(task.id)
    assert task.state == "failed"
    assert "version 2" in task.reason and "'5'" in task.reason


def test_cancelled_before_it_is_claimed_nothing_changes_and_a_retry_forgets(world: World) -> None:
    task = world.ledger.forget("3", by="test")
    world.ledger.cancel(task.id, by="test")
    world.learn_all()
    assert serving(world) == 6
    world.ledger.retry(task.id)
    world.learn_all()
    assert world.ledger.version(serving(world)).labels == tuple("01245")


def test_cancelled_once_it_serves_it_is_held_and_a_retry_lets_it_serve_again(world: World, tmp_path: Path) -> None:
    task = world.ledger.forget("3", by="test")
    child = [sys.executable, "-c", LEARN, str(tmp_path)]
    assert subprocess.run(child, env=os.environ | {VARIABLE: "publish.after"}).returncode == -9
    (made,) = world.ledger.task(task.id).versions
    assert serving(world) == made
    world.ledger.cancel(task.id, by="test")
    assert (serving(world), world.ledger.version(made).state) == (6, "held")
    world.ledger.retry(task.id)
    world.learn_all()
    assert (serving(world), world.ledger.version(made).state) == (made, "ready")


def test_images_that_wait_to_be_learned_are_not_purged(world: World) -> None:
    forgotten = world.ledger.forget("2", by="test", purge=True)
    waiting = world.send(labelled(2, 8, count=8, start=30))
    world.learn_all()
    assert [world.ledger.task(one.id).state for one in (forgotten, waiting)] == ["done", "done"]
    (again,) = [one for one in world.ledger.version(serving(world)).classes if one.label == "2"]
    assert again.since == waiting.id
    assert images_of(world, "2"), "what judges the class anew"


def test_a_purge_leaves_no_version_no_image_and_no_byte_of_the_class(world: World) -> None:
    knew = [one for one in world.ledger.versions().items if "2" in one.labels]
    manifests = {one.version: load_manifest(world.blobs, one.digest) for one in knew}
    statistics = load_parts(world.blobs, manifests[6], ["statistics"])["statistics"]
    assert images_of(world, "2")
    task, (made,) = forget(world, "2", purge=True)
    assert task.state == "done"
    assert {world.ledger.version(one.version).state for one in knew} == {"deleted"}
    assert images_of(world, "2") == []
    left = stored(world)
    for manifest in manifests.values():
        assert f"manifests/{manifest.digest}" not in left
        assert f"parts/{manifest.parts['statistics'].sha256}" not in left
    assert not any(statistics == path.read_bytes() for path in world.settings.root.rglob("*") if path.is_file())
    assert all(
        item.name is None
        for one in world.ledger.tasks().items
        for item in world.ledger.items(one.id)
        if item.label == "2"
    )
    assert world.ledger.version(2).state == "ready", "what never knew the class stays"
    assert made.version == serving(world)
    assert verify(world.ledger, world.blobs).sound
    _, versions = world.learn(labelled(6, 7, count=10))
    assert versions[-1].state == "ready"


def test_a_purge_takes_what_was_stored_for_a_version_that_never_came_to_be(world: World) -> None:
    """As a learner leaves it that is killed before it publishes, or in the middle of a file, and its task cancelled."""
    blobs = world.settings.root / "blobs"
    left = [
        blobs / "parts" / ("0" * 64),
        blobs / "parts" / f".{'1' * 64}.01234567",
        blobs / "manifests" / ("2" * 64),
        blobs / "checkpoints" / "a-task-that-was-cancelled" / ("3" * 64),
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"statistics of the class 2")
    forget(world, "3")
    assert all(path.exists() for path in left), "they are young"
    forget(world, "2", purge=True)
    assert not any(path.exists() for path in left)
    assert verify(world.ledger, world.blobs).sound


def test_a_class_that_only_older_versions_know_can_still_be_purged(world: World) -> None:
    forget(world, "4")
    task, made = forget(world, "4", purge=True)
    assert (task.state, made) == ("done", [])
    assert images_of(world, "4") == []
    with pytest.raises(NotFound):
        world.ledger.forget("4", by="test", purge=True)


def test_a_purge_of_what_only_older_versions_know_cannot_be_taken_back_either(taught: Taught, tmp_path: Path) -> None:
    world = World.new(tmp_path, taught.folder)
    forget(world, "4")
    task = world.ledger.forget("4", by="test", purge=True)
    child = [sys.executable, "-c", LEARN, str(tmp_path)]
    assert subprocess.run(child, env=os.environ | {VARIABLE: "sweep.marked"}).returncode == -9
    with pytest.raises(Conflict, match="cannot be taken back"):
        world.ledger.cancel(task.id, by="test")
    world.learn_all()
    assert (world.ledger.task(task.id).state, images_of(world, "4")) == ("done", [])
    world.close()


def test_nothing_is_purged_while_an_alias_needs_what_knows_it(world: World) -> None:
    world.ledger.move_alias("stable", 4, by="test")
    with pytest.raises(Conflict, match="stable points at version 4"):
        world.ledger.forget("2", by="test", purge=True)
    task = world.ledger.forget("5", by="test", purge=True)
    world.ledger.move_alias("stable", 6, by="test")
    world.learn_all()
    task = world.ledger.task(task.id)
    assert task.state == "failed" and "stable" in task.reason
    assert world.ledger.version(6).state == "ready" and images_of(world, "5")


def test_nothing_is_purged_where_the_version_is_held(taught: Taught, tmp_path: Path) -> None:
    world = World.new(tmp_path, taught.folder, promote="manual")
    task, (made,) = forget(world, "2", purge=True)
    assert (task.state, made.state, serving(world)) == ("failed", "held", 6)
    assert f"version {made.version} is held" in task.reason
    world.ledger.move_alias("serving", made.version, by="test")
    again, none = forget(world, "2", purge=True)
    assert (again.state, none, images_of(world, "2")) == ("done", [], [])
    world.close()


def test_a_purge_that_was_killed_half_way_is_brought_to_its_end(taught: Taught, tmp_path: Path) -> None:
    """Killed between the ledger's letting go and the bytes' going, until the task is given up; then tried again."""
    world = World.new(tmp_path, taught.folder)
    task = world.ledger.forget("2", by="test", purge=True)
    child = [sys.executable, "-c", LEARN, str(tmp_path)]
    assert subprocess.run(child, env=os.environ | {VARIABLE: "sweep.marked"}).returncode == -9
    assert images_of(world, "2"), "killed before a byte went"
    with pytest.raises(Conflict, match="cannot be taken back"):
        world.ledger.cancel(task.id, by="test")
    assert world.ledger.task(task.id).state == "learning"
    world.learn_all()
    assert (world.ledger.task(task.id).state, len(world.ledger.task(task.id).versions)) == ("done", 1)
    assert images_of(world, "2") == []
    assert world.ledger.version(serving(world)).labels == tuple("01345")
    world.close()


def test_it_is_cancelled_while_its_head_is_aligned(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "REPORT_EVERY_S", 0.0)
    report, told = world.ledger.report, []

    def noted(lease: Lease, task: str, phase: Phase, *more: object) -> None:
        told.append(phase)
        if told[-2:] == [Phase.ALIGNMENT] * 2:
            world.ledger.cancel(task, by="bob")
        report(lease, task, phase, *more)

    monkeypatch.setattr(world.ledger, "report", noted)
    task, versions = forget(world, "2")
    assert (task.state, versions) == ("cancelled", [])
    assert told[-3:] == [Phase.FEATURES, Phase.ALIGNMENT, Phase.ALIGNMENT]


def test_killed_before_it_is_published_it_starts_again(taught: Taught, tmp_path: Path) -> None:
    world = World.new(tmp_path, taught.folder)
    task = world.ledger.forget("2", by="test")
    child = [sys.executable, "-c", LEARN, str(tmp_path)]
    assert subprocess.run(child, env=os.environ | {VARIABLE: "version.stored"}).returncode == -9
    world.learn_all()
    assert (world.ledger.task(task.id).state, world.ledger.task(task.id).attempts) == ("done", 2)
    world.close()
