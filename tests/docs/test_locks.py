"""The locks hold all that pyproject.toml asks for, by hash, and say nothing of the machine that made them."""

import re
import sys
import tomllib
from importlib.metadata import distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
EXTRAS = {"cpu": ("cpu",), "gpu": ("gpu",), "ci": ("cpu", "bench", "dev")}
LOCKS = (*EXTRAS, "bento")
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


def wanted(lock: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    if lock == "bento":
        return [Requirement(line) for line in bento_lines()]
    return [Requirement(word) for word in [*project["dependencies"], *chain(*(extras[e] for e in EXTRAS[lock]))]]


def bento_lines() -> list[str]:
    return [line for line in (ROOT / "locks" / "bento.in").read_text().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_covers_what_the_project_asks_for(lock: str) -> None:
    """Where this fails, pyproject.toml has changed: run ./scripts/lock."""
    locked = pins(lock)
    for requirement in wanted(lock):
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


@pytest.mark.parametrize("lock", ["cpu", "bento"])
def test_what_is_served_is_what_was_tested(lock: str) -> None:
    tested = {name: {str(pin.specifier) for pin in found} for name, found in pins("ci").items()}
    for name, found in pins(lock).items():
        assert {str(pin.specifier) for pin in found} <= tested[name], name


def test_a_bento_takes_what_the_service_imports_and_nothing_that_only_the_learner_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(bento_lines()) <= {*project["dependencies"], *project["optional-dependencies"]["cpu"]}
    assert not {"torch", "torchvision", "timm", "scikit-learn"} & pins("bento").keys()


def test_ci_runs_on_what_its_lock_names() -> None:
    """And so does a developer, where there is no GPU: `scripts/setup` made this environment."""
    taken = Path(sys.prefix) / "everclass-packages"
    if not taken.is_file() or taken.read_text().strip() != "lock":
        pytest.skip("a GPU's environment, or not all that the lock names could be had here")
    installed = {canonicalize_name(found.name): found.version for found in distributions()}
    for name, found in pins("ci").items():
        here = [pin for pin in found if pin.marker is None or pin.marker.evaluate()]
        assert all(pin.specifier.contains(installed[name], prereleases=True) for pin in here), name
