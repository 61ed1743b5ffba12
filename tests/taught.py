"""A data folder in which a tiny network has learned digits: made once for a run, copied where a test changes it."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.settings import Settings
from stream.versions import Version
from tests import digits
from tests.service.learner.world import World

BLOCKS = ((0, 1), (2, 3), (4, 5))
IMAGES = 12


@dataclass(frozen=True)
class Taught:
    """The folder, the settings that it was taught with, and its versions by number: each task made two."""

    folder: Path
    settings: Settings
    versions: dict[int, Version]

    def copied(self, place: Path) -> Path:
        """A copy of the folder that a test may change."""
        shutil.copytree(self.folder, place)
        return place


def teach(folder: Path, seed: Path | None = None) -> Taught:
    """Learn three tasks of two digits each, from the beginning or on a copy of a data folder."""
    with _opened(folder, seed) as world:
        for block in BLOCKS:
            world.learn(digits.labelled(*block, count=IMAGES))
        return _found(world)


def taken(folder: Path, seed: Path) -> Taught:
    """A copy of a data folder in which these tasks are learned."""
    with _opened(folder, seed) as world:
        return _found(world)


def get_ready(folder: Path) -> None:
    """Run a learner until it has exported the graph of its network; it learns nothing."""
    with _opened(folder) as world:
        world.get_ready()


@contextmanager
def _opened(folder: Path, seed: Path | None = None) -> Iterator[World]:
    world = World.new(folder, seed)
    try:
        yield world
    finally:
        world.close()


def _found(world: World) -> Taught:
    versions = {version.version: version for version in world.ledger.versions().items}
    return Taught(world.settings.root, world.settings, versions)


def made_once(places: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A data folder that is made by the first of all of the run's workers that asks for it; not to be changed."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        common = places.mktemp(name)
        make(common)
        return common / "data"
    common = places.getbasetemp().parent / name
    common.mkdir(exist_ok=True)
    with (common / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = common / "done"
        if not done.exists():
            make(common)
            done.touch()
    return common / "data"
