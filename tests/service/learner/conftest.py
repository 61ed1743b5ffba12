"""What the learner's tests begin with."""

from pathlib import Path

import pytest

from tests.service.learner.world import World


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the exported graph of the tiny ViT."""
    world = World.new(tmp_path_factory.mktemp("seed"))
    world.get_ready()
    world.close()
    return world.settings.root
