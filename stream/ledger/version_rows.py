"""From rows to versions and back."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, select

from stream.errors import NotFound
from stream.ledger.schema import versions
from stream.ledger.words import is_number
from stream.versions import TaskAccuracy, Version, VersionClass, VersionDraft, VersionState


def version_row(connection: Connection, number: int) -> Row[Any]:
    """The version's row. Raises NotFound."""
    found = is_number(number) and connection.execute(select(versions).where(versions.c.version == number)).one_or_none()
    if not found:
        raise NotFound("version", number)
    return found


def labels_of(connection: Connection, number: int | None) -> tuple[str, ...]:
    """The version's labels; none for no version."""
    if number is None:
        return ()
    classes = connection.execute(select(versions.c.classes).where(versions.c.version == number)).scalar_one()
    return tuple(entry["label"] for entry in classes)


def version_value(row: Row[Any]) -> Version:
    """The row as a value."""
    return Version(
        version=row.version,
        parent=row.parent,
        task=row.task,
        kind=row.kind,
        state=VersionState(row.state),
        classes=tuple(VersionClass(**entry) for entry in row.classes),
        accuracy=row.accuracy,
        accuracy_per_task=tuple(TaskAccuracy(**entry) for entry in row.accuracy_per_task),
        forgetting=row.forgetting,
        calibration_error=row.calibration_error,
        gate=row.gate,
        runtime=row.runtime,
        reason=row.reason,
        note=row.note,
        size_bytes=row.size_bytes,
        digest=row.digest,
        created_at=row.created_at,
        parts=tuple(row.parts),
    )


def draft_values(draft: VersionDraft) -> dict[str, Any]:
    """The draft's fields as columns."""
    return {
        **vars(draft),
        "parts": list(draft.parts),
        "classes": [asdict(entry) for entry in draft.classes],
        "accuracy_per_task": [asdict(entry) for entry in draft.accuracy_per_task],
    }
