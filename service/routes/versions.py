"""Versions, and deleting one."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from service.asking import NoQuery, Page, Parts
from service.intake.idempotency import once
from service.schemas import MAX_VERSION, Listing, VersionBody

router = APIRouter(tags=["versions"])

Number = Annotated[int, Path(ge=1, le=MAX_VERSION)]


@router.get("/versions")
def list_versions(parts: Parts, query: Page) -> Listing[VersionBody]:
    """Versions, newest first."""
    page = parts.ledger.versions(query.cursor, query.limit)
    return Listing(items=tuple(map(VersionBody.of, page.items)), next=page.next)


@router.get("/versions/{number}")
def show_version(number: Number, parts: Parts, query: NoQuery) -> VersionBody:
    """One version: its classes, its accuracy, what the gate said."""
    return VersionBody.of(parts.ledger.version(number))


@router.delete("/versions/{number}")
def delete_version(number: Number, request: Request, parts: Parts, query: NoQuery) -> VersionBody:
    """Delete a version that nothing needs; its row stays."""
    with once(request, parts.ledger, parts.lease.name) as attempt:
        if attempt.replay is not None:
            attempt.check_same(number)
            return VersionBody.of(parts.ledger.version(number))
        return VersionBody.of(parts.ledger.delete_version(number, ticket=attempt.stamped(number)))
