"""What was measured, as JSON and as a table in Markdown."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("bentoml", "onnxruntime", "onnxruntime-gpu", "openvino", "numpy", "torch")


@dataclass(frozen=True)
class Figure:
    """One measured thing: its values over the rounds, the unit, what was aimed at."""

    name: str
    unit: str
    values: tuple[float, ...]
    aim: str = ""

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)

    @property
    def row(self) -> str:
        """A line of the table."""
        spread = f"{min(self.values):.3g} – {max(self.values):.3g}" if len(self.values) > 1 else "one run"
        return f"| {self.name} | {self.median:.3g} {self.unit} | {spread} | {self.aim} |"


def write(
    figures: Sequence[Figure], runtime: object, command: str, out: Path, *, title: str = "Speed through HTTP"
) -> str:
    """The figures as OUT.json and OUT.md; returns the table."""
    table = "\n".join(
        ["| figure | median | spread | aim |", "| --- | --- | --- | --- |", *(one.row for one in figures)]
    )
    told = f"# {title}\n\n    {command}\n\n{os.cpu_count()} cores, runtime {runtime}.\n\n{table}\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(
        json.dumps(_document(figures, runtime, command), indent=1, ensure_ascii=False) + "\n"
    )
    out.with_suffix(".md").write_text(told)
    return table


def _document(figures: Sequence[Figure], runtime: object, command: str) -> dict[str, Any]:
    return {
        "command": command,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "packages": dict(_installed()),
        "runtime": runtime,
        "figures": [{"name": one.name, "unit": one.unit, "values": one.values, "aim": one.aim} for one in figures],
    }


def _installed() -> list[tuple[str, str]]:
    found = []
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
