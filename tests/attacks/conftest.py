"""A folder with a version, for attacks on the server that serves it."""

from pathlib import Path

import pytest

from tests import digits
from tests.service.learner.world import World


@pytest.fixture(scope="session")
def attacked(seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one task learned (versions 1 and 2), shared by all attacks."""
    world = World.new(tmp_path_factory.mktemp("attacked"), seed)
    try:
        world.learn(digits.labelled(0, 1, count=12))
        return world.settings.root
    finally:
        world.close()
