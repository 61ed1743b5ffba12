"""Tasks: looked at, followed, opened, committed, cancelled, tried again."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from service.asking import Asking, CancelQuery, NoQuery, Paging, Parts, described, json_body
from service.assembly import Assembly
from service.cancelling import cancel
from service.edge.edge import HEAD
from service.intake.idempotency import Attempt, once
from service.intake.intaking import check_length
from service.schemas import Listing, NewTaskRequest, TaskBody
from stream.tasks import Task, TaskState

router = APIRouter(tags=["tasks"])

EVENTS = "text/event-stream"
EVENT = {
    "type": "object",
    "description": "one event; data is a task as JSON",
    "properties": {
        "event": {"type": "string", "const": "task"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}


class TaskPaging(Paging):
    """Tasks of one state or of all."""

    state: TaskState | None = None


@router.get("/tasks")
def list_tasks(parts: Parts, query: Annotated[TaskPaging, Query()]) -> Listing[TaskBody]:
    """Tasks, newest first."""
    page = parts.ledger.tasks(query.cursor, query.limit, query.state)
    return Listing(items=tuple(map(TaskBody.of, page.items)), next=page.next)


@router.get("/tasks/{task_id}")
def show_task(task_id: str, parts: Parts, query: NoQuery) -> TaskBody:
    """One task as it is now."""
    return TaskBody.of(parts.ledger.task(task_id))


@router.get(
    "/tasks/{task_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {EVENTS: {"schema": EVENT}}}},
)
def follow_task(task_id: str, request: Request, parts: Parts, asking: Asking, query: NoQuery) -> Response:
    """The task at each change, as server-sent events, until it is finished or the key is revoked."""
    read = partial(parts.ledger.task, task_id)
    read()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if request.scope.get(HEAD):
        return Response(headers=headers, media_type=EVENTS)
    events: AsyncIterator[str] = parts.followed.events(
        task_id, read, lambda: parts.access.ring.still_good(asking), lambda: parts.traffic.draining
    )
    return StreamingResponse(events, headers=headers, media_type=EVENTS)


@router.post("/tasks", status_code=201, openapi_extra=described(NewTaskRequest), responses={201: {"model": TaskBody}})
def open_task(
    request: Request,
    parts: Parts,
    asking: Asking,
    query: NoQuery,
    wish: Annotated[NewTaskRequest, Depends(json_body(NewTaskRequest))],
) -> Response:
    """Open a task for several batches; it is learned once it is committed."""
    if wish.note is not None:
        check_length("note", wish.note, parts.settings.limits.note_length)
    content = wish.model_dump()
    with once(request, parts.ledger, parts.lease.name) as attempt:
        if attempt.replay is not None:
            return created(replayed(parts, attempt, content))
        return created(
            parts.ledger.create_task(
                by=asking.name,
                name=wish.name,
                note=wish.note,
                requested_base=wish.base,
                promote=wish.promote,
                ticket=attempt.stamped(content),
            )
        )


@router.post("/tasks/{task_id}/commit", status_code=202, responses={202: {"model": TaskBody}})
def commit_task(task_id: str, request: Request, parts: Parts, query: NoQuery) -> Response:
    """Close an open task and put it in the queue."""
    with once(request, parts.ledger, parts.lease.name) as attempt:
        if attempt.replay is not None:
            return accepted(replayed(parts, attempt, task_id))
        return accepted(parts.ledger.commit_task(task_id, ticket=attempt.stamped(task_id)))


@router.post("/tasks/{task_id}/retry", status_code=202, responses={202: {"model": TaskBody}})
def retry_task(task_id: str, request: Request, parts: Parts, query: NoQuery) -> Response:
    """Put a failed or cancelled task back in the queue."""
    with once(request, parts.ledger, parts.lease.name) as attempt:
        if attempt.replay is not None:
            return accepted(replayed(parts, attempt, task_id))
        return accepted(parts.ledger.retry(task_id, ticket=attempt.stamped(task_id)))


@router.delete("/tasks/{task_id}")
def delete_task(
    task_id: str, request: Request, parts: Parts, asking: Asking, query: Annotated[CancelQuery, Query()]
) -> TaskBody:
    """Cancel a task that is not finished; of one that was given up, delete the images.

    With `purge=false` images are never deleted, and with `purge=true` nothing is cancelled: 409 in the other state.
    """
    content = (task_id, query.purge)
    with once(request, parts.ledger, parts.lease.name) as attempt:
        if attempt.replay is not None:
            return TaskBody.of(replayed(parts, attempt, content))
        ticket = attempt.stamped(content)
        return TaskBody.of(cancel(parts, task_id, by=asking.name, ticket=ticket, purge=query.purge))


def replayed(parts: Assembly, attempt: Attempt, content: object) -> Task:
    """The task that the first request with this key made or changed, as it is now.

    Raises Problem 422 where that request had other content.
    """
    attempt.check_same(content)
    assert attempt.replay is not None
    return parts.ledger.task(attempt.replay.resource_id)


def created(task: Task) -> Response:
    """201 with the task and where it is found."""
    return _with_location(task, 201)


def accepted(task: Task) -> Response:
    """202 with the task and where it is found."""
    return _with_location(task, 202)


def _with_location(task: Task, status: int) -> Response:
    body = TaskBody.of(task).model_dump(mode="json")
    return JSONResponse(body, status, headers={"Location": f"/tasks/{task.id}"})
