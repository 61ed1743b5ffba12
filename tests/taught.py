"""A data folder in which a tiny network has learned digits: made once for a run, copied where a test changes it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

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


def teach(folder: Path) -> Taught:
    """Learn three tasks of two digits each."""
    world = World.new(folder)
    try:
        for block in BLOCKS:
            world.learn(digits.labelled(*block, count=IMAGES))
        versions = {version.version: version for version in world.ledger.versions().items}
    finally:
        world.close()
    return Taught(world.settings.root, world.settings, versions)
