"""What the pages list is what there is."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from everclass.errors import PROBLEMS
from everclass.exits import MEANINGS
from model.judging.gate import FEWEST_IMAGES
from service.access.scopes import NEEDS
from service.gate_schema import BACKBONE, CHECK, GATE
from service.settings import Settings

ROOT = Path(__file__).parents[2]


def rows(page: str) -> Iterator[list[str]]:
    """The cells of every table row of a page, but for headings and rules."""
    for line in (ROOT / "docs" / page).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and not set(cells[0]) <= {"-", " "}:
            yield cells


def section(page: str, heading: str) -> str:
    return (ROOT / page).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]


def written(value: object) -> str:
    if value is None:
        return "–"
    return str(value).lower() if isinstance(value, bool) else str(value)


def worked_out(table: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The settings whose default depends on the machine."""
    for name, field in table.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from worked_out(field.annotation, f"{prefix}{name}.")
        elif field.default_factory is not None:
            yield prefix + name


def test_every_setting_is_explained_with_its_default() -> None:
    explained = {cells[0].strip("`"): cells[1] for cells in rows("settings.md") if cells[0].startswith("`")}
    defaults = {name: written(value) for name, value in Settings().flat().items()}
    defaults |= dict.fromkeys(worked_out(Settings), "cores")
    assert explained == defaults


def test_every_dependency_has_its_reason_and_no_other_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    needed = {re.split(r"[\[<>=]", line)[0] for group in groups for line in group}
    explained = [cells[0] for cells in rows("dependencies.md") if cells[0] != "package"]
    assert sorted(explained) == sorted(needed)
    assert all(len(cells) == 3 and cells[1] and cells[2] for cells in rows("dependencies.md"))


def test_every_exit_code_is_explained() -> None:
    codes = re.findall(r"\| (\d+) \| (.*) \|", section("docs/http.md", "Exit codes of the command"))
    assert {int(code): meaning for code, meaning in codes} == {int(code): text for code, text in MEANINGS.items()}


def test_every_status_is_explained() -> None:
    listed = {int(status) for status in re.findall(r"\b[45]\d\d\b", section("docs/http.md", "Statuses"))}
    assert listed == set(PROBLEMS)


def test_every_call_is_listed_with_its_scope() -> None:
    listed = {
        call.replace("{n}", "{number}").replace("{id}", "{task_id}"): scope
        for calls, scope in (re.fullmatch(r"(.*) \((\w+)\)", cells[0]).groups() for cells in listed_calls())
        for call in re.findall("`(.*?)`", calls)
    }
    assert listed == NEEDS


def test_the_gate_is_explained_as_it_is_described() -> None:
    page = section("docs/tasks-and-versions.md", "The gate")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == CHECK["properties"]["name"]["enum"]
    assert f"fewer than {FEWEST_IMAGES} images is `not_judged`" in page
    assert all(f"`gate.{name}`" in page for name in ("base_fall", "lineage_fall", "strict", "enabled", "max_images"))
    shown = json.loads(page.split("```json\n")[1].split("```")[0])
    assert list(shown) == list(GATE["properties"])
    assert all(list(check) == list(CHECK["properties"]) for check in shown["checks"])
    assert list(shown["backbone"]) == list(BACKBONE["properties"])


def listed_calls() -> Iterator[list[str]]:
    return (cells for cells in rows("http.md") if re.match("`(GET|POST|PUT|DELETE) ", cells[0]))


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} leads to {target}, which is not there"


def test_the_tour_of_the_code_leads_to_files_that_are_there() -> None:
    tour = section("README.md", "The code, in the order data flows").split("[Architecture]")[0]
    for row in (line.split("|")[2] for line in tour.splitlines() if "`" in line):
        folder = ""
        for name in re.findall(r"`([^`]+)`", row):
            path = name if "/" in name else f"{folder}/{name}"
            folder = str(Path(path).parent)
            assert (ROOT / path).exists(), path
