"""A data folder in which a tiny network has learned digits: made once for a run, copied where a test changes it."""

import fcntl
import os
import shutil
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
    """Learn three tasks of two digits each, or take the data folder of one who has."""
    world = World.new(folder, seed)
    try:
        for block in BLOCKS if seed is None else ():
            world.learn(digits.labelled(*block, count=IMAGES))
        versions = {version.version: version for version in world.ledger.versions().items}
    finally:
        world.close()
    return Taught(world.settings.root, world.settings, versions)


def taught_once(places: pytest.TempPathFactory) -> Taught:
    """A taught folder of this process, copied from the one that the first of all of the run's workers made."""
    own = places.mktemp("taught")
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return teach(own)
    common = places.getbasetemp().parent / "taught-by-one"
    common.mkdir(exist_ok=True)
    with (common / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = common / "done"
        if not done.exists():
            teach(common)
            done.touch()
    return teach(own, common / "data")
