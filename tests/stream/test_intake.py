"""A batch is taken whole or not at all."""

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream.blobs import Blobs, Content, FolderBlobs
from stream.errors import (
    Conflict,
    InvalidContent,
    NotFound,
    QuotaFull,
    StorageFull,
    TooLarge,
    Unavailable,
    UnsupportedType,
)
from stream.intake import Intake, IntakeLimits, Staging
from stream.ledger import Ledger, Quota, Ticket
from stream.retention import Policy, sweep
from stream.tasks import NewTask, Task, TaskState
from tests.stream.pictures import picture

LIMITS = IntakeLimits(images=50, image_bytes=20_000, pixels=64 * 64, labels=3)


@pytest.fixture
def make_intake(tmp_path: Path) -> Iterator[Callable[..., Intake]]:
    made: list[Intake] = []

    def make(ledger: Ledger, blobs: Blobs | None = None) -> Intake:
        store = blobs or FolderBlobs(tmp_path / "blobs")
        made.append(Intake(ledger, store, tmp_path / "incoming", LIMITS))
        return made[-1]

    yield make
    for intake in made:
        intake.close()
    assert list((tmp_path / "incoming").iterdir()) == []


@pytest.fixture
def intake(ledger: Ledger, blobs: Blobs, make_intake: Callable[..., Intake]) -> Intake:
    return make_intake(ledger, blobs)


def accept(staging: Staging, *, commit: bool = True, ticket: Ticket | None = None) -> Task:
    new = NewTask(staging.task_id, "ann") if staging.is_new else None
    return staging.accept(commit=commit, new_task=new, ticket=ticket)


def fill(staging: Staging, count: int = 4) -> None:
    for place in range(count):
        staging.add(f"images[{place}]", "cat" if place % 2 else "dog", None, picture(place), name=f"{place}.png")


def stored(intake: Intake, prefix: str = "tasks/") -> set[str]:
    return {blob.key for blob in intake.blobs.list(prefix)}


def test_an_accepted_batch_is_in_the_blobs_and_in_the_queue(intake: Intake) -> None:
    with intake.staging() as staging:
        fill(staging)
        assert len(staging) == 4
        assert stored(intake) == set()
        task = accept(staging)
    assert (task.id, task.state, task.labels) == (staging.task_id, TaskState.QUEUED, {"cat": 2, "dog": 2})
    items = intake.ledger.items(task.id)
    assert [(item.name, item.label) for item in items] == [
        ("0.png", "dog"),
        ("1.png", "cat"),
        ("2.png", "dog"),
        ("3.png", "cat"),
    ]
    for place, item in enumerate(items):
        assert intake.blobs.get(item.key(task.id)) == picture(place)
        assert item.size_bytes == len(picture(place))
    assert stored(intake) == {item.key(task.id) for item in items}


def test_an_upload_that_lies_on_disk_is_moved(intake: Intake, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(picture(1, "JPEG"))
    with intake.staging() as staging:
        staging.add("images[0]", "cat", "train", upload)
        task = accept(staging)
    assert not upload.exists()
    (item,) = intake.ledger.items(task.id)
    assert (item.split, item.sha256) == ("train", hashlib.sha256(picture(1, "JPEG")).hexdigest())


def test_an_open_task_takes_several_batches(intake: Intake) -> None:
    with intake.staging() as staging:
        fill(staging, 2)
        task = accept(staging, commit=False)
    with intake.staging(task.id) as staging:
        staging.add("images[0]", "cow", None, picture(77))
        again = accept(staging)
    assert (again.id, again.state, again.images) == (task.id, TaskState.QUEUED, 3)


def test_one_bad_image_in_fifty_is_named_and_nothing_is_stored(intake: Intake) -> None:
    with intake.staging() as staging:
        fill(staging, 49)
        staging.add("images[49]", "cat", None, picture(99)[:200])
        with pytest.raises(InvalidContent) as refused:
            accept(staging)
    assert [error.field for error in refused.value.errors] == ["images[49]"]
    assert stored(intake) == set()
    with pytest.raises(NotFound):
        intake.ledger.task(staging.task_id)


def test_everything_that_is_wrong_is_said_at_once(intake: Intake) -> None:
    with intake.staging() as staging:
        staging.add("images[0]", "cat", None, b"GIF89a....")
        staging.add("images[1]", "cat", None, picture(1, size=100))
        staging.add("images[2]", " ", None, picture(2), label_field="labels[2]")
        staging.add("images[3]", "cat", None, picture(3)[:100])
        staging.add("images[4]", "cat", None, b"")
        staging.add("images[5]", "fine", None, picture(5))
        with pytest.raises(InvalidContent) as refused:
            accept(staging)
    fields = [error.field for error in refused.value.errors]
    assert fields == ["images[0]", "images[1]", "images[3]", "images[4]", "labels[2]"]


def test_a_type_that_is_not_taken_is_told_from_content_that_is_wrong(intake: Intake) -> None:
    with intake.staging() as staging:
        fill(staging, 2)
        staging.add("images[2]", "cat", None, b"%PDF-1.4")
        with pytest.raises(UnsupportedType) as refused:
            accept(staging)
    assert [error.field for error in refused.value.errors] == ["images[2]"]


@pytest.mark.parametrize("data", [picture(1, size=65), picture(1, size=65) + bytes(20_001)], ids=["pixels", "bytes"])
def test_an_image_beyond_the_limits_is_too_large(intake: Intake, data: bytes) -> None:
    with intake.staging() as staging:
        staging.add("images[0]", "cat", None, data)
        assert staging.fingerprint()
        with pytest.raises(TooLarge) as refused:
            accept(staging)
    assert [error.field for error in refused.value.errors] == ["images[0]"]


def test_a_batch_has_room_for_so_many_images_and_classes(intake: Intake) -> None:
    with intake.staging() as staging:
        fill(staging, 50)
        with pytest.raises(TooLarge, match="50 images"):
            staging.add("images[50]", "cat", None, picture(50))
    with intake.staging() as staging:
        for place in range(4):
            staging.add(f"images[{place}]", f"class {place}", None, picture(place))
        with pytest.raises(InvalidContent, match="3 classes"):
            accept(staging)


def test_a_batch_without_images_is_refused(intake: Intake) -> None:
    with intake.staging() as staging, pytest.raises(InvalidContent, match="no images"):
        accept(staging)


def test_the_same_picture_counts_once_whatever_file_it_came_in(intake: Intake) -> None:
    with intake.staging() as staging:
        staging.add("images[0]", "cat", None, picture(1, "PNG"))
        staging.add("images[1]", "cat", None, picture(1, "PNG"))
        staging.add("images[2]", "cat", None, picture(1, "PNG") + b"trailing")
        task = accept(staging)
    assert task.images == 1
    assert len(stored(intake)) == 1


def test_the_same_picture_under_two_labels_is_named_and_nothing_is_stored(intake: Intake) -> None:
    with intake.staging() as staging:
        staging.add("images[0]", "cat", None, picture(1))
        staging.add("images[1]", "dog", None, picture(1) + b"trailing")
        with pytest.raises(InvalidContent) as refused:
            accept(staging)
    assert [error.field for error in refused.value.errors] == ["images[1]"]
    assert stored(intake) == set()


def test_a_batch_that_the_task_refuses_leaves_the_task_as_it_was(intake: Intake) -> None:
    with intake.staging() as staging:
        fill(staging, 2)
        task = accept(staging, commit=False)
    before, items = stored(intake), intake.ledger.items(task.id)
    with intake.staging(task.id) as staging:
        staging.add("images[0]", "cow", None, picture(0))
        staging.add("images[1]", "cow", None, picture(9))
        with pytest.raises(InvalidContent):
            accept(staging)
    intake.ledger.commit_task(task.id)
    with intake.staging(task.id) as staging:
        staging.add("images[0]", "cow", None, picture(9))
        with pytest.raises(Conflict):
            accept(staging)
    assert intake.ledger.items(task.id) == items
    assert stored(intake) >= before
    lease = intake.ledger.acquire_lease("learner", "me", "here", 60.0, one_machine=True)
    assert lease is not None
    sweep(intake.ledger, intake.blobs, lease, Policy(), now=datetime.now(UTC) + timedelta(days=2))
    assert stored(intake) == before


def test_a_full_queue_leaves_no_images_behind(
    open_ledger: Callable[..., Ledger], blobs: Blobs, make_intake: Callable[..., Intake]
) -> None:
    intake = make_intake(open_ledger(Quota(queued_tasks=0)), blobs)
    with intake.staging() as staging:
        fill(staging)
        with pytest.raises(QuotaFull):
            accept(staging)
    assert stored(intake) == set()


def test_a_full_disk_leaves_no_task_behind(
    ledger: Ledger, make_intake: Callable[..., Intake], monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = make_intake(ledger)
    real = FolderBlobs._put
    put = 0

    def full_after_two(self: FolderBlobs, work: tuple[str, Path, Content]) -> None:
        nonlocal put
        put += 1
        if put > 2:
            raise StorageFull("the disk")
        real(self, work)

    monkeypatch.setattr(FolderBlobs, "_put", full_after_two)
    with intake.staging() as staging:
        fill(staging, 5)
        with pytest.raises(StorageFull):
            accept(staging)
    assert stored(intake) == set()
    assert ledger.tasks().items == ()


def test_the_fingerprint_stands_for_query_labels_and_images_in_order(intake: Intake) -> None:
    def fingerprint(query: str, *sent: tuple[int, str]) -> str:
        with intake.staging() as staging:
            for place, (seed, label) in enumerate(sent):
                staging.add(f"images[{place}]", label, None, picture(seed))
            return staging.fingerprint(query)

    first = fingerprint("q", (1, "cat"), (2, "dog"))
    assert fingerprint("q", (1, " cat "), (2, "dog")) == first
    others = [
        fingerprint("other", (1, "cat"), (2, "dog")),
        fingerprint("q", (2, "dog"), (1, "cat")),
        fingerprint("q", (1, "cat"), (2, "cow")),
        fingerprint("q", (1, "cat"), (3, "dog")),
        fingerprint("q", (1, "cat")),
    ]
    assert len({first, *others}) == 6


def test_a_batch_completes_its_request(intake: Intake) -> None:
    intake.ledger.acquire_lease("service:a", "a", "here", 8.0)
    ticket = Ticket("k", "admin", "POST /learn")
    intake.ledger.begin_request(ticket, "service:a")
    with intake.staging() as staging:
        fill(staging)
        task = accept(staging, ticket=replace(ticket, fingerprint=staging.fingerprint("q")))
    replay = intake.ledger.begin_request(ticket, "service:a")
    assert replay is not None
    assert replay.resource_id == task.id


def test_batches_come_in_from_many_threads(intake: Intake) -> None:
    ids: list[str] = []

    def send() -> None:
        with intake.staging() as staging:
            fill(staging, 3)
            ids.append(accept(staging).id)

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 5
    assert len(stored(intake)) == 15


def test_what_a_killed_process_left_is_cleared_after_a_day(
    ledger: Ledger, make_intake: Callable[..., Intake], tmp_path: Path
) -> None:
    for name, age_h in (("batch-old", 25), ("upload-old", 25), ("batch-young", 23)):
        folder = tmp_path / "incoming" / name
        folder.mkdir(parents=True)
        (folder / "0").write_bytes(b"half an image")
        then = time.time() - age_h * 3600
        os.utime(folder, (then, then))
    make_intake(ledger)
    assert [folder.name for folder in (tmp_path / "incoming").iterdir()] == ["batch-young"]
    shutil.rmtree(tmp_path / "incoming" / "batch-young")


def test_a_batch_that_is_given_up_leaves_nothing(intake: Intake) -> None:
    with pytest.raises(RuntimeError), intake.staging() as staging:
        fill(staging, 30)
        raise RuntimeError
    assert stored(intake) == set()


def test_where_nobody_knows_whether_the_task_was_taken_its_images_stay(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection broke during the commit, which comes through after all."""
    real = intake.ledger.add_batch

    def unanswered(*args: Any, **words: Any) -> Task:
        real(*args, **words)
        raise Unavailable("the connection is lost")

    monkeypatch.setattr(intake.ledger, "add_batch", unanswered)
    with intake.staging() as staging, pytest.raises(Unavailable):
        staging.add("a", "cat", None, picture(1))
        staging.accept(new_task=NewTask(staging.task_id, "ann"))
    [task] = intake.ledger.tasks().items
    assert task.state == "queued"
    assert all(intake.blobs.exists(key) for key in intake.ledger.image_keys(task.id))
    assert len(intake.ledger.image_keys(task.id)) == 1
