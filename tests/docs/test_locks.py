"""The locks hold all that pyproject.toml asks for, by hash, and say nothing of the machine that made them."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = {"cpu": ("cpu",), "gpu": ("gpu",), "ci": ("cpu", "bench", "dev")}
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def text(lock: str) -> str:
    return (ROOT / "locks" / f"{lock}.txt").read_text()


def pins(lock: str) -> dict[str, list[Requirement]]:
    """Name to its pins: more than one where platforms differ."""
    found: dict[str, list[Requirement]] = {}
    for line in text(lock).splitlines():
        if line and not line.startswith((" ", "#")):
            pin = Requirement(line.removesuffix("\\").strip())
            found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


def wanted(extras: tuple[str, ...]) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    words = [*project["dependencies"], *(word for extra in extras for word in project["optional-dependencies"][extra])]
    return [Requirement(word) for word in words]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_covers_what_the_project_asks_for(lock: str) -> None:
    """Where this fails, pyproject.toml has changed: run ./scripts/lock."""
    locked = pins(lock)
    for requirement in wanted(LOCKS[lock]):
        versions = [next(iter(pin.specifier)).version for pin in locked.get(canonicalize_name(requirement.name), [])]
        assert versions, f"{requirement.name} is not in locks/{lock}.txt"
        assert all(version in requirement.specifier for version in versions), f"{requirement}: locked are {versions}"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_is_one_version_with_hashes(lock: str) -> None:
    entries = re.split(r"\n(?=\S)", text(lock).strip())
    assert len(entries) > 50
    for entry in entries:
        head, *rest = entry.split("\\\n")
        assert re.match(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==[0-9][^ ]*( ;.*)?$", head.strip()), head
        assert rest and all(HASH.fullmatch(line.strip()) for line in rest), head


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_registry_and_no_machine(lock: str) -> None:
    assert not re.search(r"://|file:|/\w+/|--(?!hash)", text(lock))


def test_what_is_served_is_what_was_tested() -> None:
    tested = {name: {str(pin.specifier) for pin in found} for name, found in pins("ci").items()}
    for name, found in pins("cpu").items():
        assert {str(pin.specifier) for pin in found} <= tested[name], name
