"""How labelled images go up: one request for what is small, several batches of one open task for what is large."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, TypedDict, Unpack

from everclass.errors import EverclassError, Problem
from everclass.images import LabelledImage, batches
from everclass.multipart import File, Multipart, Sent, Text
from everclass.results import Task
from everclass.transport import Query, Transport, result

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
PARQUET_SUFFIXES = (".parquet", ".pq")


class Wishes(TypedDict, total=False):
    """What one may say about a task besides its images.

    `base` is the version to learn on from (default: the one in force when the task is claimed) or `none` for a new
    root; `promote` = `manual` holds what the task makes until a person promotes it; `task` appends to an open one,
    which stays open with `commit=False`; `idempotency_key` makes a later repetition of the same call the same task.
    """

    name: str | None
    note: str | None
    base: int | Literal["none"] | None
    promote: Literal["auto", "manual"] | None
    task: str | None
    commit: bool
    idempotency_key: str | None


def send_images(
    transport: Transport, images: Iterable[LabelledImage], on_sent: Sent | None = None, **wishes: Unpack[Wishes]
) -> Task:
    """The task that was made of the images, or the open one that they were added to.

    What does not fit one batch goes up in several of one open task, committed with the last; if one is refused, a task
    that was opened here is cancelled again, so that nothing of it is learned. A refusal calls images by their names.
    """
    groups = batches(images)
    first = next(groups, None)
    if first is None:
        raise ValueError("there are no images to learn from")
    second = next(groups, None)
    if second is None:
        return _send_images(transport, first, 0, on_sent, wishes)
    return _send_several(transport, chain([first, second], groups), on_sent, wishes)


def send_file(
    transport: Transport,
    field: Literal["archive", "parquet"],
    path: Path,
    on_sent: Sent | None,
    **wishes: Unpack[Wishes],
) -> Task:
    """The task that was made of one archive or Parquet file."""
    return _send(transport, [File(field, path.name, path)], on_sent, wishes)


def file_field(path: Path) -> Literal["archive", "parquet"] | None:
    """What a file is by its name; None for neither."""
    name = path.name.lower()
    if name.endswith(ARCHIVE_SUFFIXES):
        return "archive"
    return "parquet" if name.endswith(PARQUET_SUFFIXES) else None


def _send_several(
    transport: Transport, groups: Iterator[Sequence[LabelledImage]], on_sent: Sent | None, wishes: Wishes
) -> Task:
    key, commit = wishes.get("idempotency_key"), wishes.get("commit", True)
    task: Task | None = None
    sent = 0
    try:
        for number, (group, last) in enumerate(_with_last(groups)):
            batch_key = f"{key}-{number}" if key else None
            changes: Wishes = {"commit": commit and last, "idempotency_key": batch_key}
            where: Wishes = {"task": task.id} if task else wishes
            task = _send_images(transport, group, sent, on_sent, {**where, **changes})
            sent += len(group)
    except BaseException:
        if task is not None and not wishes.get("task"):
            _cancel_quietly(transport, task.id)
        raise
    assert task is not None
    return task


def _send_images(
    transport: Transport, images: Sequence[LabelledImage], before: int, on_sent: Sent | None, wishes: Wishes
) -> Task:
    """One batch, after `before` images of the same lesson."""
    try:
        return _send(transport, _image_parts(images), on_sent, wishes)
    except Problem as error:
        raise error.of_images([image.called for image in images], before) from error


def _send(transport: Transport, parts: Sequence[Text | File], on_sent: Sent | None, wishes: Wishes) -> Task:
    said = {"name": wishes.get("name"), "note": wishes.get("note")}
    texts = [Text(field, value) for field, value in said.items() if value is not None]
    query: Query = {
        "task": wishes.get("task"),
        "commit": wishes.get("commit"),
        "base": wishes.get("base"),
        "promote": wishes.get("promote"),
    }
    form = Multipart([*texts, *parts], on_sent)
    key = wishes.get("idempotency_key")
    return result(Task, transport.call("POST", "/learn", query=query, body=form, idempotency_key=key))


def _image_parts(images: Sequence[LabelledImage]) -> list[Text | File]:
    splits = any(image.split for image in images)
    parts: list[Text | File] = []
    for image in images:
        parts += [File("images", image.filename, image.image), Text("labels", image.label)]
        if splits:
            parts.append(Text("splits", image.split or "train"))
    return parts


def _with_last(groups: Iterator[Sequence[LabelledImage]]) -> Iterator[tuple[Sequence[LabelledImage], bool]]:
    group = next(groups)
    for following in groups:
        yield group, False
        group = following
    yield group, True


def _cancel_quietly(transport: Transport, task_id: str) -> None:
    """Give up a task that is still open; one that was committed after all is the server's to learn.

    The refusal that led here is what the caller must see, not this one's.
    """
    try:
        if result(Task, transport.call("GET", f"/tasks/{task_id}")).state == "open":
            transport.call("DELETE", f"/tasks/{task_id}", query={"purge": False})
    except EverclassError:
        return
