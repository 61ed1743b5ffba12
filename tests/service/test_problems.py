"""Every error of the stream has its status, and nothing inner is told to a client."""

import errno
import json

import pytest

from service.problems import Problem, answer, not_valid, problem_of
from stream.errors import (
    Conflict,
    DamagedBlob,
    FieldError,
    InvalidContent,
    LeaseLost,
    NotFound,
    QuotaFull,
    StorageFull,
    StreamError,
    TooLarge,
    Unavailable,
    UnsupportedType,
)

FIELD = (FieldError("images[3]", "broken"),)


@pytest.mark.parametrize(
    ("error", "status", "field", "retry_after"),
    [
        (NotFound("task", "x"), 404, None, None),
        (Conflict("no"), 409, None, None),
        (Conflict("no", field="task", retry_after_s=3), 409, "task", "3"),
        (InvalidContent(FIELD), 422, "images[3]", None),
        (UnsupportedType(FIELD), 415, "images[3]", None),
        (TooLarge("much", FIELD), 413, "images[3]", None),
        (QuotaFull("full", retry_after_s=30), 429, None, "30"),
        (StorageFull("/secret/place"), 507, None, None),
        (OSError(errno.ENOSPC, "no space", "/secret/place"), 507, None, None),
        (OSError(errno.EDQUOT, "quota", "/secret/place"), 507, None, None),
        (Unavailable("away", retry_after_s=2), 503, None, "2"),
        (DamagedBlob("parts/abc"), 409, None, None),
        (Problem(400, "unreadable"), 400, None, None),
    ],
)
def test_an_error_has_its_status(error: Exception, status: int, field: str | None, retry_after: str | None) -> None:
    reply = answer(error)
    body = json.loads(reply.body)
    assert (reply.status_code, body["status"], body["type"]) == (status, status, "about:blank")
    assert reply.media_type == "application/problem+json"
    assert body.get("errors", [{"field": None}])[0]["field"] == field
    assert reply.headers.get("retry-after") == retry_after
    assert "secret" not in reply.body.decode()


@pytest.mark.parametrize(
    "error", [RuntimeError("secret"), OSError(errno.EACCES, "secret"), LeaseLost("secret"), StreamError("secret")]
)
def test_what_nobody_expected_is_logged_and_not_told(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    reply = answer(error)
    assert reply.status_code == 500
    assert "secret" not in bytes(reply.body).decode()
    assert "unexpected error" in caplog.text


def test_every_retry_is_at_least_a_second_away() -> None:
    assert Problem(503, "soon", retry_after_s=0.01).response().headers["retry-after"] == "1"


def test_where_a_whole_body_is_wrong_the_body_is_named() -> None:
    problem = not_valid([{"type": "model_type", "loc": (), "msg": "Input should be an object"}])
    assert (problem.status, problem.errors[0].field) == (422, "body")
    assert problem_of(problem) is problem
