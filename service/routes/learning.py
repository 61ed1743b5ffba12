"""`POST /learn`: labelled images come in. The answer 202 means that every one of them is durable."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.asking import Asking, LearnQuery, Parts
from service.assembly import Assembly
from service.intake.idempotency import once_async
from service.intake.intaking import Lesson, take_in
from service.intake.uploads import read_form, spool
from service.problems import wrong
from service.routes.tasks import accepted
from service.schemas import LINES, NOTE, ONE_LINE, TaskBody
from service.setting_groups import BYTES_PER_MB
from stream.errors import Conflict
from stream.keys import Sender
from stream.tasks import TaskState

router = APIRouter(tags=["learn"])

FILE = {"type": "string", "format": "binary"}
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "images": {"type": "array", "items": FILE, "minItems": 1},
                        "labels": {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
                        "splits": {"type": "array", "items": {"type": "string", "enum": ["train", "held_out"]}},
                        "archive": FILE,
                        "parquet": FILE,
                        "name": {"type": "string", **ONE_LINE},
                        "note": {"type": "string", "description": NOTE, **LINES},
                    },
                    "additionalProperties": False,
                    "oneOf": [{"required": ["images", "labels"]}, {"required": ["archive"]}, {"required": ["parquet"]}],
                }
            }
        },
    }
}


@router.post("/learn", status_code=202, openapi_extra=FORM, responses={202: {"model": TaskBody}})
async def learn(request: Request, parts: Parts, asking: Asking, query: Annotated[LearnQuery, Query()]) -> Response:
    """Labelled images, or an archive or a Parquet table of them: a new task, or more of an open one."""
    limits = parts.settings.limits
    async with once_async(request, parts.ledger, parts.lease.name) as attempt:
        if attempt.replay is None:
            await asyncio.to_thread(refuse_early, parts, query, asking.sender)
        async with spool(parts.settings.incoming) as place:
            form = await read_form(request, limits.request_mb * BYTES_PER_MB, place)
            lesson = Lesson(form, query, place, asking.sender)
            loop = asyncio.get_running_loop()
            return accepted(await loop.run_in_executor(parts.takers, take_in, parts, lesson, attempt))


def refuse_early(parts: Assembly, query: LearnQuery, sender: Sender) -> None:
    """What can be refused before the images have come: no such task, one that is not open, a full queue or quota.

    Raises NotFound, Conflict, QuotaFull, Problem.
    """
    parts.ledger.check_images(sender)
    if query.task is None:
        if query.commit:
            parts.ledger.check_room()
        return
    for name in ("base", "promote"):
        if getattr(query, name) is not None:
            raise wrong(name, "this can only be said of a new task")
    task = parts.ledger.task(query.task)
    if task.state is not TaskState.OPEN:
        raise Conflict(f"task {task.id} is {task.state}: only an open task takes more images", field="task")
