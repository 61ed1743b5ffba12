"""What `/openapi.json` says of every call alike: its scope, its idempotency key, the answers of who is refused."""

import copy
from collections.abc import Mapping
from typing import Any

from service.access.scopes import OPEN, needed
from service.intake.idempotency import HEADER
from service.problems import MEDIA_TYPE
from service.schemas import ProblemBody
from stream.keys import Scope
from stream.ledger.requests import MAX_KEY_CHARACTERS

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
    "408": "the body comes too slowly",
    "409": "the state does not allow it",
    "413": "too large",
    "422": WRONG,
    "503": "not now; see Retry-After",
    "507": "the disk is full",
}
IMAGES = {"415": "neither a form nor JPEG, PNG or WebP"}
"""What calls that take images may answer besides."""

BODIES = {"415": "the body is not JSON by its content type"}
READING = {"422": WRONG, "503": WRITING["503"]}
NAMED = {"404": WRITING["404"]}
READINGS_OF_THEIR_OWN = {
    "GET /metrics": {"404": "the setting serve.metrics is off", "422": WRONG},
    "GET /versions/{number}/export": {"409": "this version is damaged or deleted"},
}
"""What single calls that change nothing may answer besides."""

PROBES = frozenset({"/livez", "/readyz", "/metrics"})
"""Answered while the server stops too."""

WITHOUT_KEY = frozenset({"POST /predict"})
"""What changes nothing and so takes no idempotency key, beside what only reads."""

IDEMPOTENCY_KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "the same request under the same key is done once; other content under it is 422",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARACTERS, "pattern": "^[!-~]([ -~]*[!-~])?$"},
}
FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")
"""Answers that FastAPI would give by itself, and this server never does."""

RETRY_AFTER = {"description": "seconds to wait before trying again", "schema": {"type": "integer", "minimum": 1}}
CHALLENGE = {"description": "what kind of key is asked for (RFC 6750)", "schema": {"type": "string"}}
LOCATION = {"description": "where the task is found", "schema": {"type": "string"}}
HEADERS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "201": {"Location": {**LOCATION, "required": True}},
    "202": {"Location": {**LOCATION, "required": True}},
    "401": {"WWW-Authenticate": {**CHALLENGE, "required": True}},
    "403": {"WWW-Authenticate": CHALLENGE},
    "409": {"Retry-After": RETRY_AFTER},
    "429": {"Retry-After": {**RETRY_AFTER, "required": True}},
    "503": {"Retry-After": RETRY_AFTER},
}
"""The headers of each status, whatever the call."""


def add_security(description: dict[str, Any]) -> None:
    """Write it into the description; doing so again changes nothing."""
    components = description.setdefault("components", {})
    components["securitySchemes"] = {SCHEME: {"type": "http", "scheme": "bearer"}}
    components.setdefault("schemas", {})["Problem"] = ProblemBody.model_json_schema()
    for name in FASTAPIS_OWN:
        components["schemas"].pop(name, None)
    for path, item in description["paths"].items():
        for method, operation in item.items():
            _describe(operation, f"{method.upper()} {path}")
            _take_key(operation, method, path)
            if operation["responses"].pop("422", None):
                # FastAPI describes the answer that it would give by itself.
                _add(operation, {"422": WRONG})
            _add(operation, _answers(method, path, has_body="requestBody" in operation))
            for status, answer in operation["responses"].items():
                if status in HEADERS:
                    answer.setdefault("headers", {}).update(HEADERS[status])


def without_keys(description: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a server that has no keys: each call may carry one, and none has to."""
    described = copy.deepcopy(dict(description))
    for item in described["paths"].values():
        for operation in item.values():
            if operation["security"]:
                operation["security"].insert(0, {})
    return described


def _answers(method: str, path: str, *, has_body: bool) -> dict[str, str]:
    """What the call may answer besides success and refusal, with the words for it."""
    if method != "get":
        return WRITING | (IMAGES if path in ("/learn", "/predict") else BODIES if has_body else {})
    reading = ({} if path in PROBES else READING) | (NAMED if "{" in path else {})
    return reading | READINGS_OF_THEIR_OWN.get(f"GET {path}", {})


def _describe(operation: dict[str, Any], call: str) -> None:
    needs = needed(call, Scope.PREDICT)
    operation["security"] = [] if needs == OPEN else [{SCHEME: [str(needs)]}]
    for status, words in REFUSALS.items():
        if needs != OPEN or status in ALWAYS:
            operation["responses"].setdefault(status, _problem(words))


def _take_key(operation: dict[str, Any], method: str, path: str) -> None:
    parameters = operation.get("parameters", [])
    if method == "get" or f"{method.upper()} {path}" in WITHOUT_KEY or IDEMPOTENCY_KEY in parameters:
        return
    operation["parameters"] = [*parameters, IDEMPOTENCY_KEY]


def _add(operation: dict[str, Any], answers: dict[str, str]) -> None:
    for status, words in answers.items():
        operation["responses"].setdefault(status, _problem(words))


def _problem(words: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": words, "content": {MEDIA_TYPE: {"schema": schema}}}
