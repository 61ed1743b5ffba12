"""From the form of a learn request to a task: which image has which label, whatever they came in."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from service.asking import LearnQuery
from service.assembly import Assembly
from service.intake.idempotency import HEADER, Attempt
from service.intake.uploads import Form, Part
from service.problems import wrong
from service.setting_groups import LimitSettings
from stream.errors import Conflict, FieldError, QuotaFull, TooLarge
from stream.files import storage_errors
from stream.intake import Staging
from stream.keys import Sender
from stream.sources import SourceItem
from stream.sources.apart import Apart, Kind
from stream.tasks import NewTask, Split, Task

FIELDS = frozenset({"images", "labels", "splits", "archive", "parquet", "name", "note"})
SOURCES = ("images", "archive", "parquet")
SPLITS = ("train", "held_out")


@dataclass(frozen=True)
class Lesson:
    """What a learn request brought; its files lie in `place`."""

    form: Form
    query: LearnQuery
    place: Path
    sender: Sender


def take_in(parts: Assembly, lesson: Lesson, attempt: Attempt) -> Task:
    """Check every image, make the batch durable, and only then put it into its task. Waits for the disk.

    Raises:
        Problem, InvalidContent, UnsupportedType, TooLarge: the content is wrong; nothing was stored.
        Conflict, NotFound, QuotaFull, StorageFull: nothing of it is in a task.
        Unavailable: nothing of it is, or all of it: the same request again, under its key, is answered as the first.
    """
    limits = parts.settings.limits
    lesson.form.refuse_others(FIELDS)
    with parts.intake.staging(lesson.query.task) as staging:
        fill(staging, lesson, parts.unpacker)
        fingerprint = staging.fingerprint(lesson.query.model_dump_json())
        if attempt.replay is not None:
            if attempt.replay.fingerprint != fingerprint:
                raise wrong(HEADER, "this key was used for another content")
            return parts.ledger.task(attempt.replay.resource_id)
        ticket = None if attempt.ticket is None else replace(attempt.ticket, fingerprint=fingerprint)
        new_task = described(lesson, staging.task_id, limits)
        task = staging.accept(commit=lesson.query.commit, new_task=new_task, ticket=ticket, sender=lesson.sender)
    return commit_if_large(parts, task)


def described(lesson: Lesson, task_id: str, limits: LimitSettings) -> NewTask | None:
    """The task to be made; None where the batch goes into one that is open. Problem 422 for words that are too long."""
    name = words(lesson.form, "name", limits.label_length)
    note = words(lesson.form, "note", limits.note_length)
    query = lesson.query
    if query.task is None:
        return NewTask(task_id, lesson.sender.name, "learn", name, note, query.base, query.promote)
    for field, value in (("name", name), ("note", note)):
        if value is not None:
            raise wrong(field, "this can only be said of a new task")
    return None


def words(form: Form, name: str, most_characters: int) -> str | None:
    """A text of the form; None where it is not there."""
    found = form.named(name)
    if not found:
        return None
    if len(found) > 1:
        raise wrong(name, "this can be said only once")
    text = found[0].text()
    check_length(name, text, most_characters)
    return text


def check_length(field: str, text: str, most_characters: int) -> None:
    """Problem 422 for a text that is longer."""
    if len(text) > most_characters:
        raise wrong(field, f"up to {most_characters} characters are allowed")


def commit_if_large(parts: Assembly, task: Task) -> Task:
    """Commit an open task by itself once it has as many images as configured."""
    enough = parts.settings.learn.commit_images
    if task.state != "open" or enough is None or task.images < enough:
        return task
    try:
        return parts.ledger.commit_task(task.id)
    except (Conflict, QuotaFull):
        # The batch is in: another one has committed the task, or the queue is full and it is committed later.
        return parts.ledger.task(task.id)


def fill(staging: Staging, lesson: Lesson, reader: Apart) -> None:
    """Add every image to the staging. Problem 422 where it is not clear which image has which label."""
    brought = [name for name in SOURCES if lesson.form.named(name)]
    if len(brought) != 1:
        given = " and ".join(brought) or "none"
        raise wrong("images", f"one of images, archive and parquet is expected, not {given}")
    if brought == ["images"]:
        fill_from_images(staging, lesson.form)
        return
    for name in ("labels", "splits"):
        if lesson.form.named(name):
            raise wrong(name, f"this goes with images, not with {brought[0]}")
    for item in read_source(lesson, brought[0], reader):
        staging.add(item.name, item.label, item.split, item.data, name=item.name)
    if not len(staging):
        raise wrong(brought[0], "there are no images in it")


def fill_from_images(staging: Staging, form: Form) -> None:
    """Pair images with labels, and with splits where there are any, by their order."""
    images, labels, splits = form.named("images"), form.named("labels"), form.named("splits")
    if len(labels) != len(images):
        raise wrong("labels", f"there are {len(labels)} labels for {len(images)} images")
    if splits and len(splits) != len(images):
        raise wrong("splits", f"there are {len(splits)} splits for {len(images)} images")
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        staging.add(
            f"images[{index}]",
            label.text(f"labels[{index}]"),
            split_of(splits, index),
            image.content,
            name=image.filename,
            label_field=f"labels[{index}]",
        )


def split_of(splits: list[Part], index: int) -> Split | None:
    """What the client said an image is for."""
    if not splits:
        return None
    split = splits[index].text(f"splits[{index}]")
    if split not in SPLITS:
        raise wrong(f"splits[{index}]", "a split is train or held_out")
    return cast(Split, split)


def read_source(lesson: Lesson, name: str, reader: Apart) -> Iterator[SourceItem]:
    """The items of the one archive or table. What is too much of it is blamed on the field that brought it."""
    found = lesson.form.named(name)
    if len(found) > 1:
        raise wrong(name, "one file is expected")
    path = as_file(found[0], lesson.place)
    try:
        yield from reader.read(cast(Kind, name), path, lesson.sender.key)
    except TooLarge as error:
        raise TooLarge(error.detail, error.errors or (FieldError(name, error.detail),)) from error


def as_file(part: Part, place: Path) -> Path:
    """The part as a file; a part that was sent without a file name is written out."""
    if isinstance(part.content, Path):
        return part.content
    path = place / part.name
    with storage_errors(place):
        path.write_bytes(part.content)
    return path
