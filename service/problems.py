"""Every error as `application/problem+json` (RFC 9457), made at this one place."""

import errno
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from stream.errors import (
    Conflict,
    DamagedBlob,
    FieldError,
    InvalidContent,
    NotFound,
    QuotaFull,
    StorageFull,
    StreamError,
    TooLarge,
    Unavailable,
    UnsupportedType,
    in_words,
)

MEDIA_TYPE = "application/problem+json"
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
RETRY_AFTER_S = 1.0

log = logging.getLogger(__name__)


@dataclass
class Problem(Exception):
    """An answer other than success, as the client will read it."""

    status: int
    detail: str
    errors: Sequence[FieldError] = ()
    retry_after_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """The problem as an HTTP response."""
        headers = dict(self.headers)
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        return Response(json.dumps(self.body()), self.status, headers, MEDIA_TYPE)

    def body(self) -> dict[str, Any]:
        """The members of RFC 9457, with `errors` where single fields are wrong."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": title(self.status),
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"field": error.field, "message": error.message} for error in self.errors]
        return body


def title(status: int) -> str:
    """The standard words for a status."""
    return HTTPStatus(status).phrase


def unreadable(detail: str) -> Problem:
    """The request cannot be read at all (400)."""
    return Problem(400, detail)


def wrong(name: str, message: str, *, status: int = 422) -> Problem:
    """One field of a readable request is wrong."""
    return Problem(status, f"{name}: {message}", (FieldError(name, message),))


def not_valid(found: Sequence[Mapping[str, Any]]) -> Problem:
    """What pydantic found wrong: 400 where it is no JSON, else 422 naming the fields."""
    if any(one["type"] == "json_invalid" for one in found):
        return unreadable("the body is not JSON")
    errors = tuple(FieldError(_field(one["loc"]), _message(one)) for one in found)
    return Problem(422, in_words(errors), errors)


def unavailable(detail: str, retry_after_s: float = RETRY_AFTER_S) -> Problem:
    """Nothing to answer with yet, or no longer (503)."""
    return Problem(503, detail, retry_after_s=retry_after_s)


def busy(detail: str, retry_after_s: float = RETRY_AFTER_S) -> Problem:
    """More work waits than is allowed (429)."""
    return Problem(429, detail, retry_after_s=retry_after_s)


def problem_of(error: Exception) -> Problem:
    """The problem that an error is for the client; what nobody expected is 500 without its inner words."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, StreamError):
        return _of_stream(error)
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return Problem(507, "the server has no room left for this")
    return Problem(500, "something went wrong in the server; its log says what")


def _of_stream(error: StreamError) -> Problem:
    match error:
        case NotFound():
            return Problem(404, str(error))
        case Conflict():
            named = (FieldError(error.field, error.detail),) if error.field else ()
            return Problem(409, error.detail, named, error.retry_after_s)
        case InvalidContent():
            return Problem(422, str(error), error.errors)
        case TooLarge():
            return Problem(413, str(error), error.errors)
        case UnsupportedType():
            return Problem(415, str(error), error.errors)
        case QuotaFull():
            return Problem(429, str(error), retry_after_s=error.retry_after_s)
        case StorageFull():
            return Problem(507, "the server has no room left for this")
        case Unavailable():
            return Problem(503, str(error), retry_after_s=error.retry_after_s)
        case DamagedBlob():
            return Problem(409, str(error))
        case _:
            return Problem(500, "something went wrong in the server; its log says what")


def answer(error: Exception) -> Response:
    """The response to an error; unexpected ones are logged with their trace."""
    problem = problem_of(error)
    if problem.status == 500:
        log.error("unexpected error", exc_info=error)
    return problem.response()


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Have `app` answer every error, for every path and method, as a problem; `routes` are those that it has."""
    app.state.known_routes = tuple(routes)
    handlers: dict[type[Exception], Callable[[Request, Exception], Response]] = {
        Problem: _raised,
        StreamError: _raised,
        OSError: _raised,
        RequestValidationError: _not_valid,
        HTTPException: _of_routing,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _raised(request: Request, error: Exception) -> Response:
    return answer(error)


def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return not_valid(error.errors()).response()


def _field(location: Sequence[str | int]) -> str:
    within = [str(part) for part in location if part not in ("query", "body", "path", "header")]
    return ".".join(within) or "body"


def _message(found: Mapping[str, Any]) -> str:
    if found["type"] == "extra_forbidden":
        return "there is no such parameter"
    return str(found["msg"]).removeprefix("Value error, ")


def _of_routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code != 405:
        detail = f"there is nothing at {request.url.path}" if error.status_code == 404 else str(error.detail)
        return Problem(error.status_code, detail, headers=error.headers or {}).response()
    allowed = _allowed(request)
    detail = f"{request.method} is not possible here, only {allowed}"
    return Problem(405, detail, headers={"Allow": allowed}).response()


def _allowed(request: Request) -> str:
    methods: set[str] = set()
    for route in request.app.state.known_routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= set(getattr(route, "methods", None) or ())
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
