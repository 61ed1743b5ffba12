"""What each call asks for, as the HTTP contract has it. A call that is not named here asks for an admin key."""

from collections.abc import Mapping
from typing import Literal

from stream.keys import Scope

Needed = Scope | Literal["open"]
OPEN: Literal["open"] = "open"

METRICS = "GET /metrics"
"""Open, or with the scope that the setting `keys.metrics` names."""

NEEDS: Mapping[str, Needed] = {
    "GET /livez": OPEN,
    "GET /readyz": OPEN,
    "GET /openapi.json": OPEN,
    "GET /docs": OPEN,
    "GET /": OPEN,
    "GET /web/{name}": OPEN,
    METRICS: Scope.PREDICT,
    "POST /predict": Scope.PREDICT,
    "GET /versions": Scope.PREDICT,
    "GET /versions/{number}": Scope.PREDICT,
    "GET /classes": Scope.PREDICT,
    "GET /aliases": Scope.PREDICT,
    "POST /learn": Scope.LEARN,
    "GET /tasks": Scope.LEARN,
    "POST /tasks": Scope.LEARN,
    "GET /tasks/{task_id}": Scope.LEARN,
    "DELETE /tasks/{task_id}": Scope.LEARN,
    "GET /tasks/{task_id}/events": Scope.LEARN,
    "POST /tasks/{task_id}/commit": Scope.LEARN,
    "POST /tasks/{task_id}/retry": Scope.LEARN,
    "POST /rollback": Scope.ADMIN,
    "PUT /aliases/{name}": Scope.ADMIN,
    "DELETE /aliases/{name}": Scope.ADMIN,
    "GET /promotions": Scope.ADMIN,
    "GET /versions/{number}/export": Scope.ADMIN,
    "DELETE /versions/{number}": Scope.ADMIN,
    "DELETE /classes/{label}": Scope.ADMIN,
    "GET /audit": Scope.ADMIN,
}


def needed(call: str, metrics: Needed) -> Needed:
    """What a call (`POST /learn`) asks for, where the setting says `metrics` of `/metrics`."""
    return metrics if call == METRICS else NEEDS.get(call, Scope.ADMIN)
