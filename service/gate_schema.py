"""What a version's `gate` tells (`model/judging/gate.py`), described for `/openapi.json`.

It is passed on as it is stored: versions of older code say less.
"""

from typing import Annotated, Any

from pydantic import WithJsonSchema

IMAGES = {"type": "integer", "minimum": 0}
RATE = {"type": "number", "minimum": 0, "maximum": 1}
VERDICT = {"type": "string", "enum": ["passed", "refused", "not_judged"]}


def or_null(schema: dict[str, Any], description: str) -> dict[str, Any]:
    """A schema that null fits too."""
    return {"anyOf": [schema, {"type": "null"}], "description": description}


CHECK: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "enum": ["base", "lineage", "new_classes", "provisional"]},
        "verdict": VERDICT,
        "images": {**IMAGES, "description": "held-out images that it rests on; below 20 it is not_judged"},
        "accuracy": or_null(RATE, "the version's"),
        "reference": or_null(RATE, "that of the version it was held against; for new classes the base's"),
        "bound": or_null({"type": "number"}, "what accuracy was held against; of new classes its upper 95 % bound"),
        "standard_error": or_null({"type": "number", "minimum": 0}, "of the paired difference"),
        "against": or_null({"type": "integer", "minimum": 1}, "the version it was held against"),
    },
    "required": ["name", "verdict", "images"],
}
BACKBONE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "moved": {"type": "boolean", "description": "whether the version's backbone is the one that was tuned"},
        "images": IMAGES,
        "accuracy_moved": RATE,
        "accuracy_standing": RATE,
    },
}
GATE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "verdict": VERDICT,
        "checks": {"type": "array", "items": CHECK},
        "known_rate": or_null(RATE, "how many held-out images of known classes are known"),
        "backbone": or_null(BACKBONE, "how the tuned backbone did against the standing one"),
    },
    "required": ["verdict", "checks"],
}

Gate = Annotated[
    dict[str, Any] | None, WithJsonSchema(or_null(GATE, "how it was judged; null for one that was imported"))
]
