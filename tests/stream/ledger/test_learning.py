"""The learner's side: claims, fences, deaths, checkpoints."""

from collections.abc import Callable
from typing import Any

import pytest

from stream.errors import Conflict, LeaseLost, TaskStopped
from stream.ledger import Lease, Ledger
from stream.tasks import Epoch, Phase, TaskState
from tests.stream.conftest import Clock
from tests.stream.stories import claimed, draft, drafts, in_force, learned, learner, publish, queued


def test_the_oldest_task_is_claimed_and_its_base_fixed(ledger: Ledger, clock: Clock) -> None:
    lease = learner(ledger)
    assert ledger.claim(lease) is None
    learned(ledger, lease)
    second, third = queued(ledger, "cow"), queued(ledger, "hen")
    clock.forward(minutes=1)
    task = ledger.claim(lease)
    assert task is not None
    assert (task.id, task.state, task.base, task.claim_seq, task.attempts) == (second.id, TaskState.LEARNING, 2, 2, 1)
    assert task.started_at == clock.time
    assert ledger.task(third.id).base is None


def test_a_task_that_is_being_learned_is_given_again_to_the_same_learner(ledger: Ledger) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    again = ledger.claim(lease)
    assert again == task


def test_a_requested_base_wins_and_none_starts_a_root(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    assert learned(ledger, lease, base=1).base == 1
    assert learned(ledger, lease, base="none").base is None
    assert ledger.version(5).parent is None


def test_settings_and_splits_are_frozen_once(ledger: Ledger) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease, "cat", "dog", "cow")
    frozen = ledger.freeze(lease, task.id, {"seed": 7}, {0: "train", 1: "held_out"})
    assert frozen.frozen == {"seed": 7}
    assert [item.split for item in ledger.items(task.id)] == ["train", "held_out", None]
    again = ledger.freeze(lease, task.id, {"seed": 8}, {0: "held_out"})
    assert again.frozen == {"seed": 7}
    assert ledger.items(task.id)[0].split == "train"


def test_it_is_known_of_each_picture_whether_tasks_learned_from_it(ledger: Ledger) -> None:
    """Also of more than are looked up at once, and where the bytes are gone; but not of other tasks' pictures."""
    lease = learner(ledger)
    many = ["cat"] * 1200
    first, other = (claimed_and_done(ledger, lease, many, tag) for tag in ("mine", "other"))
    digests = [draft.pixel_digest for draft in drafts(*many, tag="mine")]
    unseen = [draft.pixel_digest for draft in drafts("cat", tag="unseen")]
    asked = digests[::2] + unseen + [draft.pixel_digest for draft in drafts(*many, tag="other")]
    assert ledger.trained_on({first}, asked) == set(digests[::2]) - {digests[0]}
    assert len(ledger.trained_on({first, other}, asked)) == 599 + 1199
    assert ledger.trained_on(set(), asked) == ledger.trained_on({first}, []) == frozenset()
    assert all(item.purged for item in ledger.items(other) if item.split == "train")


def claimed_and_done(ledger: Ledger, lease: Lease, labels: list[str], tag: str) -> str:
    """A task whose first picture is held out, and whose others are learned from and purged."""
    task = claimed(ledger, lease, *labels, tag=tag)
    ledger.freeze(lease, task.id, {}, {n: "train" if n else "held_out" for n in range(len(labels))})
    publish(ledger, lease, task, "final", ["cat"])
    ledger.finish(lease, task.id)
    ledger.sweep_images(lease, 0)
    return task.id


def test_settings_may_come_without_splits(ledger: Ledger) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    assert ledger.freeze(lease, task.id, {}, {}).frozen == {}


def test_a_report_is_what_readers_see(ledger: Ledger) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    ledger.report(lease, task.id, Phase.TRAINING, 0.25, 30.0, [Epoch(1, 0.5, 0.75)])
    ledger.report(lease, task.id, Phase.ALIGNMENT, 0.5, None)
    seen = ledger.task(task.id)
    assert (seen.phase, seen.progress, seen.eta_s) == (Phase.ALIGNMENT, 0.5, None)
    assert seen.epochs == (Epoch(1, 0.5, 0.75),)


def test_a_done_task_says_so(ledger: Ledger, clock: Clock) -> None:
    lease = learner(ledger)
    task = learned(ledger, lease)
    assert (task.state, task.progress, task.finished_at) == (TaskState.DONE, 1.0, clock.time)
    assert (task.versions, task.position) == ((1, 2), None)
    with pytest.raises(Conflict):
        ledger.cancel(task.id, by="ann")


def test_a_failure_leaves_the_provisional_in_force(ledger: Ledger) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    publish(ledger, lease, task, "provisional")
    failed = ledger.fail(lease, task.id, "no memory left")
    assert (failed.state, failed.reason) == (TaskState.FAILED, "no memory left")
    assert in_force(ledger) == 1
    assert claimed(ledger, lease, "cow").base == 1


def test_a_checkpoint_replaces_the_one_before_and_goes_with_the_task(ledger: Ledger, clock: Clock) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    assert ledger.checkpoint(task.id) is None
    assert ledger.save_checkpoint(lease, task.id, "tasks/x/1", {"epoch": 1}) is None
    assert ledger.save_checkpoint(lease, task.id, "tasks/x/2", {"epoch": 2}) == "tasks/x/1"
    assert ledger.save_checkpoint(lease, task.id, "tasks/x/2", {"epoch": 2}) is None
    saved = ledger.checkpoint(task.id)
    assert saved is not None
    assert (saved.key, saved.info, saved.saved_at) == ("tasks/x/2", {"epoch": 2}, clock.time)
    ledger.fail(lease, task.id, "broken")
    assert ledger.checkpoint(task.id) is None


def test_a_task_that_is_handed_back_goes_on_where_it_was(ledger: Ledger) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    queued(ledger, "cow")
    ledger.freeze(lease, task.id, {"seed": 7}, {})
    publish(ledger, lease, task, "provisional")
    ledger.save_checkpoint(lease, task.id, "tasks/x/1", {"epoch": 1})
    back = ledger.hand_back(lease, task.id)
    assert (back.state, back.position, back.frozen, back.base) == (TaskState.QUEUED, 1, {"seed": 7}, None)
    ledger.release_lease(lease)

    successor = learner(ledger, "learner-2")
    again = ledger.claim(successor)
    assert again is not None
    assert (again.id, again.claim_seq, again.attempts, again.frozen) == (task.id, 0, 2, {"seed": 7})
    assert ledger.checkpoint(task.id) is not None
    _, promotion = publish(ledger, successor, again, "final")
    assert promotion is not None


def test_handing_back_counts_no_death(ledger: Ledger) -> None:
    task = queued(ledger)
    for owner in range(5):
        lease = learner(ledger, f"learner-{owner}")
        again = ledger.claim(lease)
        assert again is not None
        assert again.id == task.id
        ledger.hand_back(lease, task.id)
        ledger.release_lease(lease)


def test_a_task_whose_learner_dies_three_times_in_a_phase_fails_and_the_queue_goes_on(
    ledger: Ledger, clock: Clock
) -> None:
    poison, good = queued(ledger), queued(ledger)
    for attempt in range(3):
        lease = learner(ledger, f"learner-{attempt}")
        task = ledger.claim(lease)
        assert task is not None
        assert (task.id, task.attempts) == (poison.id, attempt + 1)
        ledger.report(lease, poison.id, Phase.TRAINING, 0.1, None)
        clock.forward(seconds=60)
    lease = learner(ledger, "learner-4")
    following = ledger.claim(lease)
    assert following is not None
    assert following.id == good.id
    dead = ledger.task(poison.id)
    assert dead.state == TaskState.FAILED
    assert dead.reason == "the learner died 3 times in phase training"
    assert not any(item.purged for item in ledger.items(poison.id))


def test_deaths_in_different_phases_are_counted_apart(ledger: Ledger, clock: Clock) -> None:
    task = queued(ledger)
    for attempt, phase in enumerate([Phase.TRAINING, Phase.TRAINING, Phase.ALIGNMENT, Phase.ALIGNMENT]):
        lease = learner(ledger, f"learner-{attempt}")
        ledger.claim(lease)
        ledger.report(lease, task.id, phase, 0.1, None)
        clock.forward(seconds=60)
    again = ledger.claim(learner(ledger, "learner-5"))
    assert again is not None
    assert again.id == task.id


def test_a_base_that_was_damaged_meanwhile_fails_the_task_and_not_the_queue(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    broken, fine = queued(ledger, base=1), queued(ledger)
    ledger.mark_damaged(1, "a file is gone", lease=lease)
    task = ledger.claim(lease)
    assert task is not None
    assert task.id == fine.id
    assert "version 1" in str(ledger.task(broken.id).reason)
    assert ledger.task(broken.id).base is None


WRITES: dict[str, Callable[[Ledger, Lease, str], Any]] = {
    "freeze": lambda ledger, lease, task: ledger.freeze(lease, task, {}, {0: "train"}),
    "report": lambda ledger, lease, task: ledger.report(lease, task, Phase.TRAINING, 0.9, None),
    "save_checkpoint": lambda ledger, lease, task: ledger.save_checkpoint(lease, task, "tasks/x/1", {}),
    "publish": lambda ledger, lease, task: ledger.publish(lease, task, draft("final", "cat"), wanted="serve"),
    "finish": lambda ledger, lease, task: ledger.finish(lease, task),
    "fail": lambda ledger, lease, task: ledger.fail(lease, task, "why"),
    "hand_back": lambda ledger, lease, task: ledger.hand_back(lease, task),
}

WRITES_WITHOUT_TASK: dict[str, Callable[[Ledger, Lease, str], Any]] = {
    "renew_lease": lambda ledger, lease, _: ledger.renew_lease(lease, {}),
    "claim": lambda ledger, lease, _: ledger.claim(lease),
    "record_graph": lambda ledger, lease, _: ledger.record_graph(lease, "k" * 64, "d" * 64),
    "record_runtime_choice": lambda ledger, lease, _: ledger.record_runtime_choice(lease, "k", "m", {}),
    "sweep_versions": lambda ledger, lease, _: ledger.sweep_versions(lease, 0),
    "sweep_images": lambda ledger, lease, _: ledger.sweep_images(lease, 0),
    "mark_damaged": lambda ledger, lease, _: ledger.mark_damaged(1, "why", lease=lease),
}


@pytest.mark.parametrize(
    "write", [*WRITES.values(), *WRITES_WITHOUT_TASK.values()], ids=[*WRITES, *WRITES_WITHOUT_TASK]
)
def test_a_learner_that_lost_its_lease_writes_nothing(
    ledger: Ledger, clock: Clock, write: Callable[[Ledger, Lease, str], Any]
) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    task = claimed(ledger, lease)
    clock.forward(seconds=60)
    learner(ledger, "learner-2")
    before = (ledger.task(task.id), ledger.items(task.id), ledger.versions(), ledger.promotions())
    with pytest.raises(LeaseLost):
        write(ledger, lease, task.id)
    assert (ledger.task(task.id), ledger.items(task.id), ledger.versions(), ledger.promotions()) == before
    assert ledger.graph("k" * 64) is None
    assert ledger.runtime_choice("k", "m") is None


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_learner_finds_its_task_stopped_once_it_is_cancelled(
    ledger: Ledger, write: Callable[[Ledger, Lease, str], Any]
) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    ledger.cancel(task.id, by="ann")
    before = ledger.task(task.id)
    with pytest.raises(TaskStopped) as stopped:
        write(ledger, lease, task.id)
    assert stopped.value.state == "cancelled"
    assert ledger.task(task.id) == before


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_task_that_another_learner_took_over_is_not_written_to(
    ledger: Ledger, clock: Clock, write: Callable[[Ledger, Lease, str], Any]
) -> None:
    """The lease came back to the first learner, but with another token than the one that its task was claimed with."""
    task = claimed(ledger, learner(ledger))
    clock.forward(seconds=60)
    stranger = learner(ledger, "learner-2")
    before = ledger.task(task.id)
    with pytest.raises(LeaseLost):
        write(ledger, stranger, task.id)
    assert ledger.task(task.id) == before


def test_a_task_whose_base_was_damaged_while_it_waited_again_says_so(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    task = claimed(ledger, lease, "cow")
    ledger.hand_back(lease, task.id)
    ledger.mark_damaged(2, "a bit")
    assert ledger.claim(lease) is None
    failed = ledger.task(task.id)
    assert failed.state == TaskState.FAILED and "version 2" in str(failed.reason) and "damaged" in str(failed.reason)
