"""The earlier versions that a new one is held against, as they were judged when they were published."""

import json
from dataclasses import replace

from service.learner.bases import Base
from service.learner.judging import Correct, Forebear, Forebears, best_of
from service.learner.workshop import Workshop
from stream.errors import DamagedBlob, NotFound
from stream.manifest import load_manifest, load_parts
from stream.versions import Version, VersionState


def forebears_of(workshop: Workshop, base: Base, task_id: str, *, final: bool) -> Forebears:
    """Base, best of the lineage, and for a final version the provisional that its own task made."""
    known = workshop.ledger.lineage(base.version.version) if base.version else []
    versions = {one.version: one for one in known}
    lineage = tuple(_forebear(version) for version in versions.values())
    best = best_of(lineage)
    own = _provisional(workshop, task_id, base) if final else None
    return Forebears(
        base=_compared(workshop, base.version),
        best=_compared(workshop, versions[best.version]) if best else None,
        provisional=_compared(workshop, own),
        lineage=lineage,
    )


def _provisional(workshop: Workshop, task_id: str, base: Base) -> Version | None:
    made = [workshop.ledger.version(number) for number in workshop.ledger.task(task_id).versions]
    parent = base.version.version if base.version else None
    fitting = [one for one in made if one.kind == "provisional" and one.parent == parent]
    return fitting[-1] if fitting else None


def _forebear(version: Version) -> Forebear:
    return Forebear(
        version=version.version,
        classes=frozenset(version.labels),
        accuracy=version.accuracy,
        accuracy_per_task={row.task: row.accuracy for row in version.accuracy_per_task if row.accuracy is not None},
        images=sum(row.images for row in version.accuracy_per_task),
    )


def _compared(workshop: Workshop, version: Version | None) -> Forebear | None:
    return None if version is None else replace(_forebear(version), correct=_correct(workshop, version))


def _correct(workshop: Workshop, version: Version) -> Correct:
    """What the version got right; nothing where its files are gone, so that it is not compared with."""
    if version.state is VersionState.DELETED:
        return {}
    try:
        parts = load_parts(workshop.blobs, load_manifest(workshop.blobs, version.digest), ["judged"])
    except (NotFound, DamagedBlob):
        return {}
    return json.loads(parts["judged"]) if "judged" in parts else {}
