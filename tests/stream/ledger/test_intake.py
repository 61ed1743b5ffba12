"""Tasks come in: opened, filled, committed."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from stream.errors import Conflict, InvalidContent, NotFound, QuotaFull, TooLarge
from stream.ledger import Ledger, Quota
from stream.tasks import ItemDraft, NewTask, TaskState, new_task_id
from tests.stream.conftest import Clock
from tests.stream.stories import claimed, digest, drafts, learned, learner, queued


def test_a_batch_makes_a_task_and_queues_it_in_one_go(ledger: Ledger) -> None:
    new = NewTask(new_task_id(), "ann", name="pets", note="from the shelter", promote="manual")
    task = ledger.add_batch(None, drafts("cat", "cat", "dog"), commit=True, new_task=new)
    assert task == ledger.task(new.id)
    assert (task.state, task.position, task.images, task.labels) == (TaskState.QUEUED, 1, 3, {"cat": 2, "dog": 1})
    assert (task.by, task.name, task.note, task.promote) == ("ann", "pets", "from the shelter", "manual")
    assert (task.base, task.versions, task.attempts, task.started_at, task.epochs) == (None, (), 0, None, ())


def test_an_open_task_takes_batches_until_it_is_committed(ledger: Ledger) -> None:
    task = ledger.create_task(by="ann")
    assert (task.state, task.position) == (TaskState.OPEN, None)
    ledger.add_batch(task.id, drafts("cat", tag="one"), commit=False)
    filled = ledger.add_batch(task.id, drafts("dog", "cat", tag="two"), commit=False)
    assert (filled.state, filled.labels) == (TaskState.OPEN, {"cat": 2, "dog": 1})
    assert [item.label for item in ledger.items(task.id)] == ["cat", "dog", "cat"]
    assert [item.id for item in ledger.items(task.id)] == [0, 1, 2]
    assert ledger.commit_task(task.id).state == TaskState.QUEUED
    with pytest.raises(Conflict, match="queued"):
        ledger.add_batch(task.id, drafts("cow"), commit=False)
    with pytest.raises(Conflict, match="queued"):
        ledger.commit_task(task.id)


def test_a_task_without_images_is_not_queued(ledger: Ledger) -> None:
    task = ledger.create_task(by="ann")
    with pytest.raises(Conflict, match="no images"):
        ledger.commit_task(task.id)
    with pytest.raises(InvalidContent, match="no images"):
        ledger.add_batch(task.id, [], commit=True)
    assert ledger.task(task.id).state == TaskState.OPEN


def test_a_task_whose_images_are_all_sent_as_held_out_is_not_queued(ledger: Ledger) -> None:
    judging = [replace(one, split="held_out") for one in drafts("cat", "dog")]
    with pytest.raises(InvalidContent, match="none is left to learn from") as refused:
        ledger.add_batch(None, judging, commit=True, new_task=NewTask("new", "ann"))
    assert [error.field for error in refused.value.errors] == ["splits"]
    with pytest.raises(NotFound):
        ledger.task("new")
    task = ledger.add_batch(None, judging, commit=False, new_task=NewTask("open", "ann"))
    with pytest.raises(Conflict, match="sent as held_out"):
        ledger.commit_task(task.id)
    assert ledger.task(task.id).state == TaskState.OPEN
    assert ledger.add_batch(task.id, drafts("cow", tag="more"), commit=True).state == TaskState.QUEUED


def test_a_task_that_does_not_exist_takes_nothing(ledger: Ledger) -> None:
    for call in (
        lambda: ledger.add_batch("nowhere", drafts("cat"), commit=True),
        lambda: ledger.commit_task("nowhere"),
        lambda: ledger.task("nowhere"),
        lambda: ledger.items("nowhere"),
        lambda: ledger.cancel("nowhere", by="ann"),
        lambda: ledger.retry("nowhere"),
        lambda: ledger.purge_images("nowhere"),
        lambda: ledger.checkpoint("nowhere"),
    ):
        with pytest.raises(NotFound, match="nowhere"):
            call()


def test_a_batch_needs_a_task(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="needs a task"):
        ledger.add_batch(None, drafts("cat"), commit=True)


def test_the_same_picture_under_the_same_label_counts_once(ledger: Ledger) -> None:
    again = ItemDraft(digest("another file"), "cat", 12, digest("pixels 0"))
    task = ledger.create_task(by="ann")
    ledger.add_batch(task.id, [*drafts("cat", "dog"), again], commit=False)
    ledger.add_batch(task.id, [again], commit=False)
    assert ledger.task(task.id).labels == {"cat": 1, "dog": 1}
    assert len(ledger.items(task.id)) == 2


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_the_same_picture_under_two_labels_is_refused_by_name(ledger: Ledger, in_one_batch: bool) -> None:
    other = ItemDraft(digest("bytes 0"), "dog", 10, digest("pixels 0"), field="images[7]")
    unnamed = ItemDraft(digest("bytes 0"), "cow", 10, digest("pixels 0"))
    task = ledger.create_task(by="ann")
    if not in_one_batch:
        ledger.add_batch(task.id, drafts("cat"), commit=False)
    before = ledger.task(task.id)
    batch = [*drafts("cat"), other, unnamed]
    with pytest.raises(InvalidContent) as refused:
        ledger.add_batch(task.id, batch, commit=False)
    assert [error.field for error in refused.value.errors] == ["images[7]", "images[2]"]
    assert ledger.task(task.id) == before


def test_a_new_task_that_is_refused_does_not_exist(ledger: Ledger) -> None:
    new = NewTask(new_task_id(), "ann")
    twice = [*drafts("cat"), ItemDraft(digest("b"), "dog", 1, digest("pixels 0"))]
    with pytest.raises(InvalidContent):
        ledger.add_batch(None, twice, commit=True, new_task=new)
    with pytest.raises(NotFound):
        ledger.task(new.id)


def test_thousands_of_pictures_are_compared_with_what_the_task_has(ledger: Ledger) -> None:
    many = drafts(*["cat"] * 1200)
    task = ledger.create_task(by="ann")
    ledger.add_batch(task.id, many, commit=False)
    assert ledger.add_batch(task.id, many, commit=True).images == 1200


def test_a_full_queue_says_when_to_come_back(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(Quota(queued_tasks=1, open_tasks=2, images_per_task=3))
    ledger.check_room()
    queued(ledger)
    with pytest.raises(QuotaFull) as full:
        queued(ledger)
    assert full.value.retry_after_s > 0
    with pytest.raises(QuotaFull):
        ledger.check_room()
    assert len(ledger.tasks().items) == 1
    for _ in range(2):
        ledger.create_task(by="ann")
    with pytest.raises(QuotaFull, match="open"):
        ledger.create_task(by="ann")


def test_a_task_has_room_for_so_many_images(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(Quota(images_per_task=3))
    with pytest.raises(TooLarge, match="3 images"):
        queued(ledger, *["cat"] * 4)
    assert queued(ledger, *["cat"] * 3).images == 3


def test_a_task_has_room_for_so_many_labels_over_all_its_batches(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(Quota(labels_per_task=3))
    with pytest.raises(InvalidContent, match="3 classes"):
        queued(ledger, "cat", "dog", "cow", "pig")
    task = ledger.create_task(by="ann")
    ledger.add_batch(task.id, drafts("cat", "dog", tag="1"), commit=False)
    before = ledger.add_batch(task.id, drafts("dog", "cow", tag="2"), commit=False)
    with pytest.raises(InvalidContent, match="3 classes") as refused:
        ledger.add_batch(task.id, drafts("cat", "pig", tag="3"), commit=True)
    assert [error.field for error in refused.value.errors] == ["labels"]
    assert ledger.task(task.id) == before
    assert ledger.add_batch(task.id, drafts("cat", tag="3"), commit=True).labels == {"cat": 2, "dog": 2, "cow": 1}


def test_a_base_that_cannot_be_built_on_is_refused_at_once(ledger: Ledger) -> None:
    with pytest.raises(InvalidContent, match="no version 1"):
        ledger.create_task(by="ann", requested_base=1)
    lease = learner(ledger)
    learned(ledger, lease)
    ledger.mark_damaged(1, "a file is gone")
    with pytest.raises(Conflict, match="damaged"):
        ledger.create_task(by="ann", requested_base=1)
    assert ledger.create_task(by="ann", requested_base=2).requested_base == 2
    assert ledger.create_task(by="ann", requested_base="none").requested_base == "none"


def test_places_in_the_queue_follow_the_order_of_commits(ledger: Ledger) -> None:
    early = ledger.create_task(by="ann")
    ledger.add_batch(early.id, drafts("cat"), commit=False)
    first, second = queued(ledger), queued(ledger)
    ledger.commit_task(early.id)
    assert [ledger.task(task.id).position for task in (first, second, early)] == [1, 2, 3]
    lease = learner(ledger)
    assert claimed(ledger, lease).id == first.id
    assert [ledger.task(task.id).position for task in (first, second, early)] == [0, 1, 2]


def test_open_tasks_are_cancelled_by_their_age(ledger: Ledger, clock: Clock) -> None:
    old = ledger.create_task(by="ann")
    waiting = queued(ledger)
    clock.forward(hours=25)
    young = ledger.create_task(by="ann")
    assert ledger.expire_open_tasks(24 * 3600) == [old.id]
    assert ledger.task(old.id).state == TaskState.CANCELLED
    assert "too long" in str(ledger.task(old.id).reason)
    assert [ledger.task(task.id).state for task in (waiting, young)] == [TaskState.QUEUED, TaskState.OPEN]


def test_tasks_are_listed_newest_first_in_pages(ledger: Ledger) -> None:
    ids = [queued(ledger).id for _ in range(5)]
    first = ledger.tasks(limit=2)
    second = ledger.tasks(first.next, limit=2)
    third = ledger.tasks(second.next, limit=2)
    assert [task.id for page in (first, second, third) for task in page.items] == ids[::-1]
    assert third.next is None
    assert ledger.tasks(state=TaskState.LEARNING).items == ()
    assert len(ledger.tasks(state=TaskState.QUEUED).items) == 5


@pytest.mark.parametrize("cursor", ["", "x", "-1", "9" * 30, "٣"])
def test_a_cursor_that_we_never_gave_out_is_refused(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(InvalidContent, match="cursor"):
        ledger.tasks(cursor)


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_page_has_a_sensible_size(ledger: Ledger, limit: int) -> None:
    with pytest.raises(InvalidContent, match="limit"):
        ledger.versions(limit=limit)
