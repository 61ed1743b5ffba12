"""A task is given up, tried again, purged."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from stream.errors import Conflict, QuotaFull
from stream.ledger import Ledger, Quota
from stream.tasks import NewTask, Phase, TaskState, image_key, new_task_id
from stream.versions import VersionState
from tests.stream.conftest import Clock
from tests.stream.stories import claimed, draft, drafts, in_force, learned, learner, publish, queued


def test_open_and_queued_tasks_are_cancelled(ledger: Ledger, clock: Clock) -> None:
    for task in (ledger.create_task(by="ann"), queued(ledger)):
        cancelled = ledger.cancel(task.id, by="bob")
        assert (cancelled.state, cancelled.reason) == (TaskState.CANCELLED, "cancelled by bob")
        assert (cancelled.finished_at, cancelled.position) == (clock.time, None)
        with pytest.raises(Conflict, match="already"):
            ledger.cancel(task.id, by="bob")
    assert ledger.claim(learner(ledger)) is None
    assert ledger.promotions().items == ()


def test_cancelling_while_learning_puts_serving_back_and_holds_the_provisional(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease, "cat")
    task = claimed(ledger, lease, "dog")
    publish(ledger, lease, task, "provisional", ["cat", "dog"])
    assert in_force(ledger) == 3
    ledger.cancel(task.id, by="bob")
    assert in_force(ledger) == 2
    assert ledger.version(3).state == VersionState.HELD
    back = ledger.promotions().items[0]
    assert (back.by, back.task, back.version, back.previous, back.lost) == ("bob", task.id, 2, 3, ("dog",))


def test_cancelling_the_first_task_leaves_nothing_in_force(ledger: Ledger) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease, "cat")
    publish(ledger, lease, task, "provisional", ["cat"])
    ledger.cancel(task.id, by="bob")
    assert ledger.serving() is None
    assert ledger.aliases() == {}
    assert ledger.classes_in_force() == ()
    back = ledger.promotions().items[0]
    assert (back.version, back.previous, back.lost, back.won) == (None, 1, ("cat",), ())
    afterwards = learned(ledger, lease, "dog")
    assert (afterwards.base, in_force(ledger)) == (None, 3)


def test_cancelling_does_not_undo_what_a_person_decided(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    task = claimed(ledger, lease, "dog")
    publish(ledger, lease, task, "provisional")
    ledger.move_alias("serving", 1, by="ann")
    ledger.cancel(task.id, by="bob")
    assert in_force(ledger) == 1
    assert ledger.version(3).state == VersionState.HELD


def test_a_provisional_that_a_person_promoted_stays_in_force_when_its_task_is_cancelled(ledger: Ledger) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    publish(ledger, lease, task, "provisional")
    ledger.move_alias("serving", 1, by="ann")
    ledger.cancel(task.id, by="bob")
    assert (in_force(ledger), ledger.version(1).state) == (1, VersionState.READY)


def test_a_task_that_was_handed_back_is_cancelled_like_one_that_is_learned(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    task = claimed(ledger, lease, "dog")
    publish(ledger, lease, task, "provisional")
    ledger.hand_back(lease, task.id)
    ledger.cancel(task.id, by="bob")
    assert (in_force(ledger), ledger.version(3).state) == (2, VersionState.HELD)


def test_cancelling_before_the_provisional_moves_nothing(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    before = ledger.serving()
    ledger.cancel(claimed(ledger, lease, "dog").id, by="bob")
    assert ledger.serving() == before


def test_a_base_that_is_damaged_by_now_is_not_put_back_in_force(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease, "cat")
    learned(ledger, lease, "dog")
    task = claimed(ledger, lease, "cow")
    publish(ledger, lease, task, "provisional")
    ledger.mark_damaged(4, "a file is gone")
    ledger.cancel(task.id, by="bob")
    assert in_force(ledger) == 2


def test_a_version_that_is_held_is_not_put_in_force_by_a_cancel(ledger: Ledger) -> None:
    """Only a person may let it serve; the base was damaged meanwhile, and its parent is one that nobody promoted."""
    lease = learner(ledger)
    learned(ledger, lease, "cat")
    held = claimed(ledger, lease, "dog")
    ledger.publish(lease, held.id, draft("final", "cat", "dog"), wanted="hold")
    ledger.finish(lease, held.id)
    queued(ledger, "cow", base=3)
    learning = ledger.claim(lease)
    assert learning is not None and learning.base == 3
    ledger.publish(lease, learning.id, draft("final", "cat", "dog", "cow"), wanted="hold")
    ledger.finish(lease, learning.id)
    ledger.move_alias("serving", 4, by="ann")
    task = claimed(ledger, lease, "pig")
    assert task.base == 4
    publish(ledger, lease, task, "provisional")
    ledger.mark_damaged(4, "a file is gone")
    ledger.cancel(task.id, by="bob")
    assert in_force(ledger) == 2
    assert ledger.version(3).state == VersionState.HELD


def test_a_task_that_is_cancelled_twice_is_put_back_once(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    task = claimed(ledger, lease, "dog")
    publish(ledger, lease, task, "provisional")
    ledger.cancel(task.id, by="bob")
    ledger.retry(task.id)
    ledger.claim(lease)
    before = ledger.serving()
    ledger.cancel(task.id, by="bob")
    assert ledger.serving() == before


@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_a_task_is_tried_again_from_its_first_base_and_may_take_over(ledger: Ledger, end: str) -> None:
    lease = learner(ledger)
    learned(ledger, lease, "cat")
    task = claimed(ledger, lease, "dog")
    ledger.freeze(lease, task.id, {"seed": 1}, {0: "held_out"})
    publish(ledger, lease, task, "provisional")
    ledger.report(lease, task.id, Phase.TRAINING, 0.5, 3.0, [])
    ledger.fail(lease, task.id, "no memory") if end == "fail" else ledger.cancel(task.id, by="bob")

    again = ledger.retry(task.id)
    assert (again.state, again.position, again.base, again.claim_seq) == (TaskState.QUEUED, 1, 2, 2)
    assert (again.phase, again.progress, again.frozen, again.reason) == (None, 0.0, None, None)
    assert (again.started_at, again.finished_at, again.versions) == (None, None, (3,))
    assert ledger.items(task.id)[0].split == "held_out", "what a version was not learned from goes on judging it"

    reclaimed = ledger.claim(lease)
    assert reclaimed is not None
    assert (reclaimed.base, reclaimed.attempts) == (2, 2)
    provisional, _ = publish(ledger, lease, reclaimed, "provisional")
    assert (provisional.version, provisional.state, in_force(ledger)) == (3, VersionState.READY, 3)
    final, promotion = publish(ledger, lease, reclaimed, "final")
    assert promotion is not None
    assert (final.parent, in_force(ledger)) == (2, 4)


@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_trying_again_forgets_what_the_first_claim_held_out_and_not_what_the_client_did(
    ledger: Ledger, end: str
) -> None:
    lease = learner(ledger)
    new = NewTask(new_task_id(), "ann")
    sent = [
        replace(one, split=said) for one, said in zip(drafts(*"abcd"), ("held_out", None, "train", None), strict=True)
    ]
    ledger.add_batch(None, sent, commit=True, new_task=new)
    for part in ("held_out", "train"):
        ledger.claim(lease)
        ledger.freeze(lease, new.id, {}, dict.fromkeys(range(4), part))
        assert [item.split for item in ledger.items(new.id)] == [part] * 4
        ledger.fail(lease, new.id, "nothing is left") if end == "fail" else ledger.cancel(new.id, by="bob")
        ledger.retry(new.id)
        assert [item.split for item in ledger.items(new.id)] == ["held_out", None, "train", None]


def test_a_task_tried_again_after_someone_moved_serving_is_held(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease, "cat")
    task = claimed(ledger, lease, "dog")
    ledger.fail(lease, task.id, "no memory")
    ledger.move_alias("serving", 1, by="ann")
    ledger.retry(task.id)
    again = ledger.claim(lease)
    assert again is not None
    version, _ = publish(ledger, lease, again, "final")
    assert (version.state, in_force(ledger)) == (VersionState.HELD, 1)


def test_a_task_that_never_ran_gets_its_base_when_it_is_tried_again(ledger: Ledger) -> None:
    task = queued(ledger, "cow")
    ledger.cancel(task.id, by="bob")
    lease = learner(ledger)
    learned(ledger, lease)
    ledger.retry(task.id)
    again = ledger.claim(lease)
    assert again is not None
    assert again.base == 2


def test_a_task_is_tried_again_behind_what_waits(ledger: Ledger) -> None:
    first, second = queued(ledger), queued(ledger)
    ledger.cancel(first.id, by="bob")
    assert ledger.retry(first.id).position == 2
    assert ledger.task(second.id).position == 1


@pytest.mark.parametrize("how", ["learned", "claimed", "requested"])
def test_nothing_is_tried_again_once_something_was_built_on_it(ledger: Ledger, how: str) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    publish(ledger, lease, task, "provisional")
    ledger.fail(lease, task.id, "no memory")
    if how == "learned":
        learned(ledger, lease, "cow")
    elif how == "claimed":
        claimed(ledger, lease, "cow")
    else:
        ledger.create_task(by="ann", requested_base=1)
    with pytest.raises(Conflict, match="made"):
        ledger.retry(task.id)


def test_only_what_came_to_nothing_is_tried_again(ledger: Ledger) -> None:
    lease = learner(ledger)
    done, waiting = learned(ledger, lease), queued(ledger)
    for task in (done, waiting):
        with pytest.raises(Conflict, match=task.state):
            ledger.retry(task.id)


def test_a_task_whose_base_is_gone_is_not_tried_again(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    task = claimed(ledger, lease, "cow", base=1)
    ledger.fail(lease, task.id, "no memory")
    ledger.delete_version(1)
    with pytest.raises(Conflict, match="version 1"):
        ledger.retry(task.id)


def test_a_task_without_images_to_learn_from_is_not_tried_again(ledger: Ledger) -> None:
    empty = ledger.create_task(by="ann")
    judging = [replace(one, split="held_out") for one in drafts("cat", "dog")]
    held = ledger.add_batch(None, judging, commit=False, new_task=NewTask(new_task_id(), "ann"))
    for task, why in ((empty, "has no images"), (held, "sent as held_out")):
        ledger.cancel(task.id, by="bob")
        with pytest.raises(Conflict, match=why):
            ledger.retry(task.id)
        assert ledger.task(task.id).state == TaskState.CANCELLED


def test_a_task_that_forgets_has_no_images_to_purge_and_is_tried_again_without_any(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease, "cat", "dog")
    task = ledger.forget("dog", by="ann")
    ledger.cancel(task.id, by="bob")
    ledger.retry(task.id)
    taken = ledger.claim(lease)
    assert taken is not None
    publish(ledger, lease, taken, "final", ["cat"])
    ledger.finish(lease, task.id)
    with pytest.raises(Conflict, match="is done: it has no images"):
        ledger.purge_images(task.id)


def test_a_task_is_not_tried_again_while_the_queue_is_full(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(Quota(queued_tasks=1))
    task = queued(ledger)
    ledger.cancel(task.id, by="bob")
    queued(ledger)
    with pytest.raises(QuotaFull):
        ledger.retry(task.id)


def test_purging_forgets_the_images_and_the_way_back(ledger: Ledger) -> None:
    task = queued(ledger, "cat", "dog")
    with pytest.raises(Conflict, match="still needed"):
        ledger.purge_images(task.id)
    ledger.cancel(task.id, by="bob")
    assert ledger.image_keys(task.id) == {image_key(task.id, item.sha256) for item in ledger.items(task.id)}
    keys = ledger.purge_images(task.id)
    assert sorted(keys) == sorted(image_key(task.id, draft.sha256) for draft in drafts("cat", "dog", tag=task.id))
    assert all(item.purged for item in ledger.items(task.id))
    assert ledger.image_keys(task.id) == frozenset()
    assert ledger.purge_images(task.id) == []
    with pytest.raises(Conflict, match="gone"):
        ledger.retry(task.id)


def test_a_done_task_is_purged_only_where_its_final_is_held(ledger: Ledger) -> None:
    lease = learner(ledger)
    served = learned(ledger, lease)
    held = learned(ledger, lease, "cow", promote="manual")
    with pytest.raises(Conflict):
        ledger.purge_images(served.id)
    assert len(ledger.purge_images(held.id)) == 1


def test_images_that_judge_another_task_are_not_purged_under_it(ledger: Ledger) -> None:
    lease = learner(ledger)
    first = claimed(ledger, lease, "cat", "dog")
    publish(ledger, lease, first, "provisional")
    ledger.fail(lease, first.id, "no memory")
    other = claimed(ledger, lease, "cow")
    assert other.base == 1
    with pytest.raises(Conflict, match="still judged by images"):
        ledger.purge_images(first.id)
    ledger.fail(lease, other.id, "no memory")
    assert len(ledger.purge_images(first.id)) == 2
