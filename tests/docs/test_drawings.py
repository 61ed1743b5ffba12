"""The state machines are drawn as they are."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import pytest

from stream import tasks, versions

PAGE = Path(__file__).parents[2] / "docs" / "tasks-and-versions.md"


def drawn(heading: str) -> set[tuple[str, str]]:
    """The edges of the mermaid drawing below a heading."""
    section = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    drawing = re.search(r"```mermaid\nstateDiagram-v2\n(.*?)```", section, re.DOTALL)
    assert drawing is not None
    lines = [line.split(":")[0].split("-->") for line in drawing[1].splitlines()]
    return {(start.strip(), end.strip()) for start, end in lines}


@pytest.mark.parametrize(
    ("heading", "table"), [("A task", tasks.TRANSITIONS), ("A version", versions.TRANSITIONS)], ids=["task", "version"]
)
def test_the_drawing_has_the_edges_of_the_table(heading: str, table: Mapping[StrEnum, frozenset[StrEnum]]) -> None:
    edges = {(start.value, end.value) for start, ends in table.items() for end in ends}
    assert {edge for edge in drawn(heading) if "[*]" not in edge} == edges


@pytest.mark.parametrize(
    ("heading", "table"), [("A task", tasks.TRANSITIONS), ("A version", versions.TRANSITIONS)], ids=["task", "version"]
)
def test_the_drawing_ends_where_nothing_follows(heading: str, table: Mapping[StrEnum, frozenset[StrEnum]]) -> None:
    last = {state.value for state, following in table.items() if not following}
    assert {start for start, end in drawn(heading) if end == "[*]"} == last
