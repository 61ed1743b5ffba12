"""Giving up a task, so that what serves afterwards is loaded and warm before anything moves."""

from contextlib import ExitStack

from service.assembly import Assembly
from stream.errors import Conflict
from stream.ledger import Ticket
from stream.tasks import Task
from stream.versions import Version, VersionState


def cancel(parts: Assembly, task_id: str, *, by: str, ticket: Ticket | None, purge: bool | None = None) -> Task:
    """Cancel a task that is not finished; of one that was given up already, delete the images.

    With `purge` False only the former is done, so that cancelling again deletes nothing; with True only the latter.

    Raises:
        NotFound: no such task.
        Conflict: it is done, is not in the state for what alone may be done, or the version that would serve again
            cannot be loaded here; nothing has moved.
    """
    state = parts.ledger.task(task_id).state
    if purge or (state.finished and purge is None):
        return _purge(parts, task_id, ticket)
    if state.finished:
        raise Conflict(f"task {task_id} is {state} already; what is kept of its images stays")
    with ExitStack() as held:
        returning = _returning(parts, task_id)
        if returning is not None:
            held.enter_context(parts.follower.prepared(returning))
        task = parts.ledger.cancel(task_id, by=by, ticket=ticket)
        parts.follower.follow()
    return task


def _purge(parts: Assembly, task_id: str, ticket: Ticket | None) -> Task:
    for key in parts.ledger.purge_images(task_id, ticket=ticket):
        parts.blobs.delete(key)
    return parts.ledger.task(task_id)


def _returning(parts: Assembly, task_id: str) -> Version | None:
    """The version that serves again once the task is given up; None where nothing would change."""
    serving = parts.ledger.serving()
    if serving is None or parts.ledger.version(serving.version).task != task_id:
        return None
    base = parts.ledger.task(task_id).base
    if base is None:
        return None
    ready = [version for version in parts.ledger.lineage(base) if version.state == VersionState.READY]
    return ready[-1] if ready else None
