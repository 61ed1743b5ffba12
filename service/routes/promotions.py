"""Which version serves: rollback, aliases, and the log of what served when."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import AwareDatetime, BeforeValidator, Field

from service.access.caller import OBJECT
from service.asking import Asking, NoQuery, Nothing, Paging, Parts, described, json_body
from service.assembly import Assembly
from service.intake.idempotency import Attempt, once
from service.problems import wrong
from service.schemas import LINES, MAX_VERSION, AliasRequest, Listing, Move, PromotionBody, RollbackRequest
from stream.failpoints import reach
from stream.ledger.promotions import ALIAS
from stream.versions import SERVING, Expected, Promotion

router = APIRouter(tags=["promotions"])


AliasName = Annotated[str, Path(json_schema_extra={"pattern": f"^{ALIAS.pattern}$"})]
RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d.*", re.ASCII)


def written_out(value: object) -> object:
    """A time as RFC 3339 has it; seconds since 1970 are none."""
    if isinstance(value, str) and not RFC3339.fullmatch(value):
        raise ValueError("a time such as 2026-01-31T12:00:00Z is expected")
    return value


class RemovalQuery(Nothing):
    """Why an alias goes, and the version that the caller believes it points at."""

    reason: Annotated[str, Field(max_length=2000, json_schema_extra=LINES)] | None = None
    expected: Annotated[int, Field(ge=1, le=MAX_VERSION)] | None = None


class LogQuery(Paging):
    """The whole log, or what served at one moment."""

    at: Annotated[AwareDatetime | None, BeforeValidator(written_out)] = None


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
    name: AliasName,
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


@router.delete("/aliases/{name}")
def remove_alias(
    name: AliasName, request: Request, parts: Parts, asking: Asking, query: Annotated[RemovalQuery, Query()]
) -> PromotionBody:
    """Remove an alias, so that nothing keeps its version; `serving` can only be moved."""
    content = {"alias": name, **query.model_dump()}
    with once(request, parts.ledger, parts.lease.name) as attempt:
        if attempt.replay is not None:
            return replayed(parts, attempt, content)
        return PromotionBody.of(
            parts.ledger.remove_alias(
                name, by=asking.name, reason=query.reason, expected=query.expected, ticket=attempt.stamped(content)
            )
        )


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
