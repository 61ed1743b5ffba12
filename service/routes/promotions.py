"""Which version serves: rollback, aliases, and the log of what served when."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime

from service.access.caller import OBJECT
from service.asking import Asking, NoQuery, Paging, Parts, described, json_body
from service.assembly import Assembly
from service.idempotency import Attempt, once
from service.problems import wrong
from service.schemas import AliasRequest, Listing, Move, PromotionBody, RollbackRequest
from stream.failpoints import reach
from stream.versions import SERVING, Expected, Promotion

router = APIRouter(tags=["promotions"])


class LogQuery(Paging):
    """The whole log, or what served at one moment."""

    at: AwareDatetime | None = None


@router.post("/rollback", openapi_extra=described(RollbackRequest))
def roll_back(
    request: Request,
    parts: Parts,
    asking: Asking,
    query: NoQuery,
    wish: Annotated[RollbackRequest, Depends(json_body(RollbackRequest))],
) -> PromotionBody:
    """Serve a version again: the one named, a task's base, or the parent of the version in force."""
    if wish.version is not None and wish.task is not None:
        raise wrong("task", "a version is named already; only one of the two can be")
    content = wish.model_dump()
    with once(request, parts.ledger, parts.lease.name) as attempt:
        if attempt.replay is not None:
            return replayed(parts, attempt, content)
        expected = wish.expectation() or seen_now(parts, wish)
        target = parts.ledger.rollback_target(version=wish.version, task=wish.task)
        request.scope[OBJECT] = f"/versions/{target}"
        return PromotionBody.of(move(parts, SERVING, target, wish, attempt, content, expected, asking.name))


@router.get("/aliases")
def list_aliases(parts: Parts, query: NoQuery) -> dict[str, int]:
    """Which version each alias points at."""
    return parts.ledger.aliases()


@router.put("/aliases/{name}", openapi_extra=described(AliasRequest))
def point_alias(
    name: str,
    request: Request,
    parts: Parts,
    asking: Asking,
    query: NoQuery,
    wish: Annotated[AliasRequest, Depends(json_body(AliasRequest))],
) -> PromotionBody:
    """Point an alias at a version; with `serving` that version takes over."""
    content = {"alias": name, **wish.model_dump()}
    with once(request, parts.ledger, parts.lease.name) as attempt:
        if attempt.replay is not None:
            return replayed(parts, attempt, content)
        expected = wish.expectation()
        return PromotionBody.of(move(parts, name, wish.version, wish, attempt, content, expected, asking.name))


@router.get("/promotions")
def list_promotions(parts: Parts, query: Annotated[LogQuery, Query()]) -> Listing[PromotionBody]:
    """The log of alias moves, newest first; with `at` the one move that decided what served then."""
    if query.at is not None:
        found = parts.ledger.promotion_at(query.at)
        return Listing(items=() if found is None else (PromotionBody.of(found),), next=None)
    page = parts.ledger.promotions(query.cursor, query.limit)
    return Listing(items=tuple(map(PromotionBody.of, page.items)), next=page.next)


def seen_now(parts: Assembly, wish: RollbackRequest) -> Expected | None:
    """What a rollback to the parent is from: if something else takes over meanwhile, its parent was not meant."""
    if wish.version is not None or wish.task is not None:
        return None
    serving = parts.ledger.serving()
    return None if serving is None else Expected(seq=serving.seq)


def move(
    parts: Assembly,
    alias: str,
    version: int,
    wish: Move,
    attempt: Attempt,
    content: object,
    expected: Expected | None,
    by: str,
) -> Promotion:
    """Load, check and warm the version, move the alias, swap, in this order; where one fails, nothing moves.

    Raises NotFound, Conflict, InvalidContent.
    """
    with parts.follower.prepared(parts.ledger.version(version)):
        reach("promotion.before")
        promotion = parts.ledger.move_alias(
            alias,
            version,
            by=by,
            reason=wish.reason,
            expected=expected,
            ticket=attempt.stamped(content),
        )
        reach("promotion.after")
        parts.follower.follow()
    return promotion


def replayed(parts: Assembly, attempt: Attempt, content: object) -> PromotionBody:
    """The promotion that the first request with this key made."""
    attempt.check_same(content)
    assert attempt.replay is not None
    return PromotionBody.of(parts.ledger.promotion(int(attempt.replay.resource_id)))
