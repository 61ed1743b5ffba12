"""`GET /audit`: who changed what, and who was refused."""

from fastapi import APIRouter

from service.asking import Page, Parts
from service.schemas import AuditBody, Listing

router = APIRouter(tags=["audit"])


@router.get("/audit")
def list_audit(parts: Parts, query: Page) -> Listing[AuditBody]:
    """The audit log, newest first: every call that changed something, and every one that was refused."""
    parts.access.auditor.write()
    page = parts.ledger.audit(query.cursor, query.limit)
    return Listing(items=tuple(map(AuditBody.model_validate, page.items)), next=page.next)
