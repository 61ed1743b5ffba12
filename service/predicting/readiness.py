"""Does this worker answer predictions, with what, and is anyone learning?"""

from collections.abc import Iterator
from typing import Any

from service.assembly import Assembly
from service.predicting.absence import why_none
from service.predicting.presence import LEARNER_LEASE
from service.schemas import LearnerBody, ReadyBody
from service.settings import Settings
from stream.errors import StreamError
from stream.versions import Serving

SILENT = "the database does not answer"


def readiness(parts: Assembly) -> ReadyBody:
    """The body of `/readyz`; waits for the database. `reason` is never null where it is not ready."""
    current, draining = parts.follower.current, parts.traffic.draining
    serving, trouble = _in_force(parts)
    behind = serving is not None and (current is None or current.serving.seq != serving.seq)
    ready = current is not None and parts.follower.broken is None and not draining
    return ReadyBody(
        ready=ready,
        version=None if current is None else current.serving.version,
        behind=behind,
        draining=draining,
        runtime=None if current is None else current.loaded.runtime,
        reason=trouble or _reason(parts, ready=ready, behind=behind),
        learner=_learner(parts),
        differs=overruled(parts),
    )


def overruled(parts: Assembly) -> tuple[str, ...]:
    """A sentence for each setting that the version in force overrules here."""
    current = parts.follower.current
    return () if current is None else tuple(differences(parts.settings, current.loaded.manifest.description))


def differences(settings: Settings, description: dict[str, Any]) -> Iterator[str]:
    """Settings that the version in force overrules: what holds for a root holds for all that is learned from it."""
    spec = description["spec"]
    asked = {
        "backbone": (settings.backbone, spec["name"]),
        "image_size": (settings.image_size, spec["image_size"]),
        "norm": (settings.norm, spec["norm"]),
        "pooling": (settings.pooling, spec.get("pooling", "pretrained")),
        "method": (settings.method, description.get("method")),
    }
    for name, (wanted, has) in asked.items():
        if wanted is not None and has is not None and wanted != has:
            yield f"{name} is set to {wanted}, the version in force has {has}"


def _reason(parts: Assembly, *, ready: bool, behind: bool) -> str | None:
    failure = parts.follower.failure
    if ready:
        return failure.reason if behind and failure else None
    if parts.traffic.draining:
        return "the server is stopping"
    try:
        return why_none(parts.follower, parts.ledger)
    except StreamError:
        return SILENT


def _in_force(parts: Assembly) -> tuple[Serving | None, str | None]:
    try:
        return parts.ledger.serving(), None
    except StreamError:
        return None, SILENT


def _learner(parts: Assembly) -> LearnerBody:
    try:
        lease = parts.ledger.lease(LEARNER_LEASE)
    except StreamError:
        lease = None
    if lease is None:
        return LearnerBody(alive=False, heartbeat_age_s=None, task=None)
    task = lease.info.get("task") if lease.alive else None
    return LearnerBody(alive=lease.alive, heartbeat_age_s=round(lease.age_s, 3), task=task)
