"""The classes in force, and forgetting one of them."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.access.caller import OBJECT
from service.asking import Asking, ClassPage, ForgetQuery, Parts
from service.intake.idempotency import once
from service.routes.tasks import accepted, replayed
from service.schemas import ClassBody, Listing, TaskBody
from stream.labels import clean_label

router = APIRouter(tags=["classes"])


@router.get("/classes")
def list_classes(parts: Parts, query: ClassPage) -> Listing[ClassBody]:
    """The classes of the version in force, all in one page unless a `limit` is given."""
    classes = parts.ledger.classes_in_force()
    end = len(classes) if query.limit is None else query.cursor + query.limit
    items = tuple(ClassBody.model_validate(one) for one in classes[query.cursor : end])
    return Listing(items=items, next=str(end) if end < len(classes) else None)


@router.delete("/classes/{label:path}", status_code=202, responses={202: {"model": TaskBody}})
def forget_class(
    label: str, request: Request, parts: Parts, asking: Asking, query: Annotated[ForgetQuery, Query()]
) -> Response:
    """Queue a task that makes a version without the class; with `purge` nothing that knows the class stays."""
    label = clean_label(label)
    request.scope[OBJECT] = f"/classes/{label}"
    content = {"label": label, "purge": query.purge}
    with once(request, parts.ledger, parts.lease.name) as attempt:
        if attempt.replay is not None:
            return accepted(replayed(parts, attempt, content))
        ticket = attempt.stamped(content)
        return accepted(parts.ledger.forget(label, by=asking.name, purge=query.purge, ticket=ticket))
