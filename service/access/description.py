"""What `/openapi.json` says about keys: the scope of each call, and the answers of those who are refused."""

from typing import Any

from service.access.scopes import OPEN, needed
from service.problems import MEDIA_TYPE
from service.schemas import ProblemBody
from stream.keys import Scope

SCHEME = "key"
REFUSALS = {
    "401": "no key, or one that is unknown, revoked or expired",
    "403": "a key without the scope that this call needs, or a place where this server does not answer",
    "429": "a quota or the queue is full; see Retry-After",
}
ALWAYS = frozenset({"403"})
"""What may answer an open call too: a server without keys answers on this machine only."""

WRONG = "the content or a parameter is wrong; errors says which"
WRITING = {
    "400": "the request cannot be read",
    "404": "there is no such task, version or alias",
    "409": "the state does not allow it",
    "413": "too large",
    "422": WRONG,
    "503": "not now; see Retry-After",
    "507": "the disk is full",
}
IMAGES = {"415": "neither a form nor JPEG, PNG or WebP"}
"""What calls that take images may answer besides."""


def add_security(description: dict[str, Any]) -> None:
    """Write it into the description; doing so again changes nothing."""
    components = description.setdefault("components", {})
    components["securitySchemes"] = {SCHEME: {"type": "http", "scheme": "bearer"}}
    components.setdefault("schemas", {})["Problem"] = ProblemBody.model_json_schema()
    for path, item in description["paths"].items():
        for method, operation in item.items():
            _describe(operation, f"{method.upper()} {path}")
            if operation["responses"].pop("422", None):
                # FastAPI describes the answer that it would give by itself.
                _add(operation, {"422": WRONG})
            if method != "get":
                _add(operation, WRITING | (IMAGES if path in ("/learn", "/predict") else {}))


def _describe(operation: dict[str, Any], call: str) -> None:
    needs = needed(call, Scope.PREDICT)
    operation["security"] = [] if needs == OPEN else [{SCHEME: [str(needs)]}]
    for status, words in REFUSALS.items():
        if needs != OPEN or status in ALWAYS:
            operation["responses"].setdefault(status, _problem(words))


def _add(operation: dict[str, Any], answers: dict[str, str]) -> None:
    for status, words in answers.items():
        operation["responses"].setdefault(status, _problem(words))


def _problem(words: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": words, "content": {MEDIA_TYPE: {"schema": schema}}}
