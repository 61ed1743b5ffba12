"""Versions and images go when nothing needs them."""

import pytest

from stream.errors import Conflict, NotFound
from stream.ledger import Ledger
from stream.tasks import Task
from stream.versions import VersionState
from tests.stream.conftest import Clock
from tests.stream.stories import claimed, digest, draft, learned, learner, publish, queued


def state(ledger: Ledger, number: int) -> VersionState:
    return ledger.version(number).state


def test_a_version_that_nothing_needs_is_deleted_and_keeps_its_row(ledger: Ledger) -> None:
    learned(ledger, learner(ledger))
    deleted = ledger.delete_version(1)
    assert deleted == ledger.version(1)
    assert deleted.state == VersionState.DELETED
    assert ledger.delete_version(1) == deleted
    with pytest.raises(NotFound):
        ledger.delete_version(9)


def test_a_version_that_something_needs_is_not_deleted(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease, "cat")
    learned(ledger, lease, "dog")
    ledger.move_alias("canary", 1, by="ann")
    for number, why in ((1, "canary"), (4, "serving"), (2, "learned from")):
        with pytest.raises(Conflict, match=why):
            ledger.delete_version(number)
    asked = ledger.create_task(by="ann", requested_base=3)
    with pytest.raises(Conflict, match=asked.id):
        ledger.delete_version(3)
    ledger.cancel(asked.id, by="ann")
    ledger.delete_version(3)


def test_what_an_unfinished_task_builds_on_or_made_is_not_deleted(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease, "cat")
    task = claimed(ledger, lease, "dog", base=1)
    publish(ledger, lease, task, "provisional")
    for number in (1, 3):
        with pytest.raises(Conflict, match=task.id):
            ledger.delete_version(number)
    ledger.fail(lease, task.id, "no memory")
    ledger.delete_version(3)
    ledger.delete_version(1)


def test_a_provisional_goes_once_its_final_was_in_force(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease, "cat")
    task = claimed(ledger, lease, "dog")
    publish(ledger, lease, task, "provisional")
    assert ledger.sweep_versions(lease, None) == [1]
    publish(ledger, lease, task, "final")
    assert ledger.sweep_versions(lease, None) == []
    ledger.finish(lease, task.id)
    assert ledger.sweep_versions(lease, None) == [3]
    assert (state(ledger, 1), state(ledger, 3)) == (VersionState.DELETED, VersionState.DELETED)
    assert (state(ledger, 2), state(ledger, 4)) == (VersionState.READY, VersionState.READY)


def test_a_provisional_stays_while_its_final_is_held_or_failed(ledger: Ledger) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    publish(ledger, lease, task, "provisional")
    publish(ledger, lease, task, "final", wanted="hold")
    ledger.finish(lease, task.id)
    assert ledger.sweep_versions(lease, None) == []
    ledger.move_alias("serving", 2, by="ann")
    assert ledger.sweep_versions(lease, None) == [1]


def test_a_provisional_that_is_aliased_stays(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease, "cat")
    ledger.move_alias("canary", 1, by="ann")
    assert ledger.sweep_versions(lease, None) == []
    ledger.move_alias("canary", 2, by="ann")
    assert ledger.sweep_versions(lease, None) == [1]


def test_a_provisional_that_a_living_version_was_learned_from_stays(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease, "cat")
    learned(ledger, lease, "dog", base=1)
    assert ledger.sweep_versions(lease, None) == []
    for number in (3, 4):
        ledger.delete_version(number)
    assert ledger.sweep_versions(lease, None) == [1]


def test_only_the_newest_finals_are_kept_and_what_is_needed(ledger: Ledger) -> None:
    lease = learner(ledger)
    for label in ("cat", "dog", "cow", "hen", "pig"):
        learned(ledger, lease, label)
    ledger.move_alias("canary", 2, by="ann")
    waiting = queued(ledger, base=4)
    assert ledger.sweep_versions(lease, None) == [1, 3, 5, 7, 9]
    assert ledger.sweep_versions(lease, 1) == [6]
    ledger.cancel(waiting.id, by="ann")
    assert ledger.sweep_versions(lease, 1) == [4]
    assert [state(ledger, number) for number in (2, 8, 10)] == [VersionState.READY] * 3


def test_provisionals_of_held_finals_go_with_the_finals_of_their_time(ledger: Ledger) -> None:
    lease = learner(ledger)
    for label in ("cat", "dog", "cow", "hen"):
        task = claimed(ledger, lease, label)
        publish(ledger, lease, task, "provisional", (label,))
        publish(ledger, lease, task, "final", (label,), wanted="hold")
        ledger.finish(lease, task.id)
    assert ledger.sweep_versions(lease, None) == []
    ledger.move_alias("canary", 1, by="ann")
    assert ledger.sweep_versions(lease, 2) == [2, 3, 4]
    assert ledger.sweep_versions(lease, 2) == []
    assert [state(ledger, number) for number in (1, 5, 7)] == [VersionState.READY] * 3
    assert [state(ledger, number) for number in (6, 8)] == [VersionState.HELD] * 2


def with_held_out(ledger: Ledger, labels: tuple[str, ...], *, end: str = "done") -> Task:
    """A task whose first image only judges."""
    lease = learner(ledger)
    task = claimed(ledger, lease, *labels)
    ledger.freeze(lease, task.id, {}, {0: "held_out", **dict.fromkeys(range(1, len(labels)), "train")})
    if end == "fail":
        return ledger.fail(lease, task.id, "no memory")
    publish(ledger, lease, task, "final", labels, wanted="hold" if end == "hold" else "serve")
    return ledger.finish(lease, task.id)


def stored(ledger: Ledger, task: Task) -> list[str | None]:
    """The splits of the images that are still there."""
    return [item.split for item in ledger.items(task.id) if not item.purged]


def test_training_images_go_when_their_task_is_done_and_judging_ones_stay(ledger: Ledger, clock: Clock) -> None:
    task = with_held_out(ledger, ("cat", "dog", "cow"))
    lease = learner(ledger)
    keys = ledger.sweep_images(lease, 30)
    assert sorted(keys) == sorted(item.key(task.id) for item in ledger.items(task.id)[1:])
    assert stored(ledger, task) == ["held_out"]
    assert ledger.sweep_images(lease, 30) == []
    clock.forward(days=365)
    assert ledger.sweep_images(learner(ledger), 30) == []
    assert len(ledger.held_out(1)) == 1


@pytest.mark.parametrize("end", ["fail", "hold"])
def test_images_of_what_came_to_nothing_stay_for_some_days(ledger: Ledger, clock: Clock, end: str) -> None:
    task = with_held_out(ledger, ("cat", "dog"), end=end)
    assert ledger.sweep_images(learner(ledger), 30) == []
    clock.forward(days=29)
    assert ledger.sweep_images(learner(ledger), 30) == []
    clock.forward(days=2)
    ledger.sweep_images(learner(ledger), 30)
    assert stored(ledger, task) == ([] if end == "fail" else ["held_out"])


def test_images_of_a_held_version_go_once_it_is_promoted(ledger: Ledger) -> None:
    task = with_held_out(ledger, ("cat", "dog"), end="hold")
    ledger.move_alias("serving", 1, by="ann")
    ledger.sweep_images(learner(ledger), 30)
    assert stored(ledger, task) == ["held_out"]


def test_unfinished_tasks_keep_their_images(ledger: Ledger, clock: Clock) -> None:
    waiting, open_task = queued(ledger), ledger.create_task(by="ann")
    clock.forward(days=365)
    assert ledger.sweep_images(learner(ledger), 0) == []
    assert len(stored(ledger, waiting)) == 2
    assert stored(ledger, open_task) == []


def test_judging_images_stay_while_a_descendant_lives(ledger: Ledger, clock: Clock) -> None:
    first, second = with_held_out(ledger, ("cat", "dog")), with_held_out(ledger, ("cow", "hen"))
    with_held_out(ledger, ("pig", "fox"))
    ledger.delete_version(1)
    clock.forward(days=60)
    ledger.sweep_images(learner(ledger), 30)
    assert (stored(ledger, first), stored(ledger, second)) == (["held_out"], ["held_out"])
    ledger.move_alias("serving", 2, by="ann")
    ledger.delete_version(3)
    lease = learner(ledger)
    root = claimed(ledger, lease, "owl", base="none")
    publish(ledger, lease, root, "final", ["owl"])
    ledger.finish(lease, root.id)
    ledger.move_alias("serving", 4, by="ann")
    ledger.delete_version(2)
    ledger.sweep_images(lease, 30)
    assert (stored(ledger, first), stored(ledger, second)) == ([], [])


def test_references_name_what_living_versions_and_unfinished_tasks_need(ledger: Ledger) -> None:
    lease = learner(ledger)
    done = learned(ledger, lease)
    task = claimed(ledger, lease, "cow")
    ledger.save_checkpoint(lease, task.id, f"tasks/{task.id}/1", {})
    ledger.delete_version(1)
    final = draft("final", "cat", "dog", tag=done.id)
    named = ledger.references()
    assert named.manifests == {final.digest}
    assert named.parts == {*final.parts, digest(f"backbone {done.id}")}
    assert named.checkpoints == {f"tasks/{task.id}/1"}
