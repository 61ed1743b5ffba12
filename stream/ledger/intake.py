"""Tasks and their batches come in: opened, filled, committed to the queue."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from stream.errors import Conflict, FieldError, InvalidContent, NotFound, QuotaFull, TooLarge
from stream.keys import Sender
from stream.ledger.database import Database
from stream.ledger.keys import check_images
from stream.ledger.requests import Ticket, complete
from stream.ledger.schema import batches, items, tasks
from stream.ledger.task_rows import change_state, next_ordinal, next_seq, task_row, task_value, to_column
from stream.ledger.version_rows import version_row
from stream.ledger.words import made_shown, shown
from stream.tasks import ItemDraft, NewTask, Promote, RequestedBase, Task, TaskKind, TaskState, new_task_id
from stream.versions import VersionState

RETRY_AFTER_S = 30
"""When to ask again after the queue was full: a task takes minutes."""

LOOKED_UP_AT_ONCE = 500
"""Digests in one query: databases bound the number of parameters."""


@dataclass(frozen=True)
class Quota:
    """How much may wait: tasks in the queue, tasks left open, images and different labels of one task."""

    queued_tasks: int = 100
    open_tasks: int = 100
    images_per_task: int = 100_000
    labels_per_task: int = 10_000


class Intake:
    """Opens, fills and commits tasks."""

    def __init__(self, database: Database, quota: Quota) -> None:
        self._database = database
        self._quota = quota

    def check_room(self) -> None:
        """Before an upload is read: is there a place in the queue? Raises QuotaFull."""
        with self._database.read() as connection:
            self._check_queue(connection)

    def create_task(
        self,
        *,
        by: str,
        kind: TaskKind = "learn",
        name: str | None = None,
        note: str | None = None,
        requested_base: RequestedBase = None,
        promote: Promote | None = None,
        ticket: Ticket | None = None,
    ) -> Task:
        """An open task without images.

        Raises:
            InvalidContent, Conflict: `requested_base` is no version that can be learned on from, words cannot be
            stored. QuotaFull: too many tasks are open.
        """
        new = NewTask(new_task_id(), by, kind, name, note, requested_base, promote)
        with self._database.write() as connection:
            self._insert(connection, new)
            complete(connection, ticket, "task", new.id)
            return task_value(connection, new.id)

    def add_batch(
        self,
        task_id: str | None,
        drafts: Sequence[ItemDraft],
        *,
        commit: bool,
        new_task: NewTask | None = None,
        ticket: Ticket | None = None,
        sender: Sender | None = None,
    ) -> Task:
        """Append images, whose bytes are stored, to the open task or to `new_task`; `commit` puts it in the queue.

        A picture that the task has already under the same label counts once.

        Raises:
            InvalidContent: no images, a picture under two labels, more labels than one task may have, or, with
                `commit`, every image of the task named as held out.
            NotFound, Conflict: no such task, or it is not open.
            QuotaFull, TooLarge: no room in the queue, too many images for one task or for the sender's quota.
        """
        if not drafts:
            raise InvalidContent.of("images", "there are no images")
        with self._database.write() as connection:
            task_id = self._task_to_fill(connection, task_id, new_task, stays_open=not commit)
            row = task_row(connection, task_id)
            fresh = _without_repeats(connection, task_id, drafts)
            if row.images + len(fresh) > self._quota.images_per_task:
                raise _too_many(fresh[self._quota.images_per_task - row.images], self._quota.images_per_task)
            labels = Counter(row.labels) + Counter(draft.label for draft in fresh)
            if len(labels) > self._quota.labels_per_task:
                raise InvalidContent.of("labels", f"a task may have {self._quota.labels_per_task} classes")
            if sender is not None:
                check_images(connection, sender, len(fresh), self._database.now())
            self._append(connection, row, fresh, labels, sender)
            if commit:
                if all_named_held_out(connection, task_id):
                    raise InvalidContent.of("splits", "every image of the task is held_out: none is left to learn from")
                self._commit(connection, task_id)
            complete(connection, ticket, "task", task_id)
            return task_value(connection, task_id)

    def commit_task(self, task_id: str, *, ticket: Ticket | None = None) -> Task:
        """Put the open task in the queue.

        Raises:
            NotFound, Conflict: no such task, it is not open, or it has no images to learn from.
            QuotaFull: no room in the queue.
        """
        with self._database.write() as connection:
            self._commit(connection, task_id)
            complete(connection, ticket, "task", task_id)
            return task_value(connection, task_id)

    def _task_to_fill(
        self, connection: Connection, task_id: str | None, new: NewTask | None, *, stays_open: bool
    ) -> str:
        if task_id is None:
            if new is None:
                raise ValueError("a batch needs a task, old or new")
            self._insert(connection, new, stays_open=stays_open)
            return new.id
        row = task_row(connection, task_id)
        if row.state != TaskState.OPEN:
            raise Conflict(f"task {task_id} is {row.state}: only an open task takes more images", field="task")
        return task_id

    def _insert(self, connection: Connection, new: NewTask, *, stays_open: bool = True) -> None:
        _check_base(connection, new.requested_base)
        if stays_open and _count(connection, TaskState.OPEN) >= self._quota.open_tasks:
            raise QuotaFull("too many tasks are open: commit or cancel one", retry_after_s=RETRY_AFTER_S)
        insert_task(connection, new, self._database.now())

    def _append(
        self,
        connection: Connection,
        row: Row[Any],
        fresh: Sequence[ItemDraft],
        labels: Mapping[str, int],
        sender: Sender | None,
    ) -> None:
        """`labels` count the task's images by label, with these."""
        number = connection.execute(select(func.count()).where(batches.c.task == row.id)).scalar_one()
        connection.execute(
            insert(batches).values(
                task=row.id,
                number=number,
                images=len(fresh),
                size_bytes=sum(draft.size_bytes for draft in fresh),
                at=self._database.now(),
                key=None if sender is None else sender.key,
            )
        )
        if fresh:
            connection.execute(
                insert(items), [_item_values(row, number, place, draft) for place, draft in enumerate(fresh)]
            )
        statement = update(tasks).where(tasks.c.id == row.id)
        connection.execute(statement.values(images=row.images + len(fresh), labels=dict(labels)))

    def _commit(self, connection: Connection, task_id: str) -> None:
        row = task_row(connection, task_id)
        if row.state != TaskState.OPEN:
            raise Conflict(f"task {task_id} is {row.state}: only an open task can be committed")
        check_learnable(connection, row)
        self._check_queue(connection)
        change_state(connection, row, TaskState.QUEUED, seq=next_seq(connection))

    def _check_queue(self, connection: Connection) -> None:
        check_queue(connection, self._quota)


def insert_task(connection: Connection, new: NewTask, now: datetime, labels: Mapping[str, int] | None = None) -> None:
    """Within a write: an open task without images. Raises InvalidContent for words that cannot be stored."""
    connection.execute(
        insert(tasks).values(
            id=new.id,
            ordinal=next_ordinal(connection),
            kind=new.kind,
            state=TaskState.OPEN,
            by=new.by,
            name=shown(new.name, "name"),
            note=shown(new.note, "note", lines=True),
            requested_base=to_column(new.requested_base),
            promote=new.promote,
            purge=new.purge,
            images=0,
            labels=dict(labels or {}),
            attempts=0,
            deaths={},
            progress=0.0,
            epochs=[],
            created_at=now,
        )
    )


def check_learnable(connection: Connection, row: Row[Any]) -> None:
    """Raises Conflict where the task is to be learned and none of its images can be learned from."""
    if row.kind != "learn":
        return
    if row.images == 0:
        raise Conflict(f"task {row.id} has no images")
    if all_named_held_out(connection, row.id):
        raise Conflict(f"every image of task {row.id} was sent as held_out: none is left to learn from")


def all_named_held_out(connection: Connection, task_id: str) -> bool:
    """Whether the client keeps every image of the task from being learned from."""
    query = select(items.c.position).where(items.c.task == task_id, items.c.named_split.is_distinct_from("held_out"))
    return connection.execute(query.limit(1)).first() is None


def check_queue(connection: Connection, quota: Quota) -> None:
    """Raises QuotaFull where the queue has no place."""
    if _count(connection, TaskState.QUEUED) >= quota.queued_tasks:
        raise QuotaFull(f"{quota.queued_tasks} tasks are waiting already", retry_after_s=RETRY_AFTER_S)


def _count(connection: Connection, state: TaskState) -> int:
    return connection.execute(select(func.count()).select_from(tasks).where(tasks.c.state == state)).scalar_one()


def _check_base(connection: Connection, requested: RequestedBase) -> None:
    if requested is None or requested == "none":
        return
    try:
        state = version_row(connection, requested).state
    except NotFound as error:
        raise InvalidContent.of("base", str(error)) from None
    if not VersionState(state).servable:
        raise Conflict(f"version {requested} is {state}", field="base")


def _without_repeats(connection: Connection, task_id: str, drafts: Sequence[ItemDraft]) -> list[ItemDraft]:
    """The drafts whose picture the task does not have yet. Raises InvalidContent where one has another label."""
    labels = dict(_labels_by_digest(connection, task_id, [draft.pixel_digest for draft in drafts]))
    fresh: list[ItemDraft] = []
    errors: list[FieldError] = []
    for place, draft in enumerate(drafts):
        known = labels.setdefault(draft.pixel_digest, None)
        if known is None:
            labels[draft.pixel_digest] = draft.label
            fresh.append(draft)
        elif known != draft.label:
            field = draft.field or f"images[{place}]"
            errors.append(FieldError(field, f"the same picture is labelled {known!r} and {draft.label!r}"))
    if errors:
        raise InvalidContent(errors)
    return fresh


def _too_many(first: ItemDraft, allowed: int) -> TooLarge:
    """What is said of the `first` image beyond those that a task may have."""
    told = f"a task may have {allowed} images (limits.images_per_task)"
    return TooLarge(told, (FieldError(first.field or "images", told),))


def _labels_by_digest(connection: Connection, task_id: str, digests: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    rest = iter(digests)
    while some := list(islice(rest, LOOKED_UP_AT_ONCE)):
        query = select(items.c.pixel_digest, items.c.label).where(
            items.c.task == task_id, items.c.pixel_digest.in_(some)
        )
        for row in connection.execute(query):
            yield row.pixel_digest, row.label


def _item_values(row: Row[Any], batch: int, place: int, draft: ItemDraft) -> dict[str, Any]:
    return {
        "task": row.id,
        "position": row.images + place,
        "batch": batch,
        "sha256": draft.sha256,
        "pixel_digest": draft.pixel_digest,
        "label": draft.label,
        "split": draft.split,
        "named_split": draft.split,
        "size_bytes": draft.size_bytes,
        "name": made_shown(draft.name),
        "purged": False,
    }
