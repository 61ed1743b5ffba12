"""What was acknowledged, written down as it happens, so that who is killed has left a record."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Diary:
    """A file of lines, each a kind and a value."""

    path: Path

    def note(self, kind: str, value: object) -> None:
        """Write one line."""
        with self.path.open("a") as file:
            file.write(json.dumps([kind, value]) + "\n")

    def all(self, kind: str) -> list[object]:
        """What was noted of this kind, in order."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [value for said, value in map(json.loads, lines) if said == kind]
