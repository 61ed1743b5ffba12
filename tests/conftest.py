"""What every test may ask for."""

from __future__ import annotations

import gc
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.taught import Taught

# Before torch is loaded: threads that spin while they wait take cores from others, and tiny networks mostly wait.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared images and weights that lies beside the project."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the shared images and weights beside the project")
    return SHARED


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a learner that has exported the tiny ViT's graph and learned nothing; not to be changed."""
    # Only tests that ask for it load what learns.
    from tests.taught import get_ready, made_once

    return made_once(tmp_path_factory, "ready", get_ready)


@pytest.fixture(scope="session")
def taught(seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Taught:
    """A folder with three tasks learned; not to be changed."""
    from tests.taught import made_once, taken, teach

    learned = made_once(tmp_path_factory, "taught", partial(teach, seed=seed))
    return taken(tmp_path_factory.mktemp("taken"), learned)


@pytest.fixture
def folder(taught: Taught, tmp_path: Path) -> Path:
    """A copy of the taught folder, for this test alone."""
    return taught.copied(tmp_path / "data")


def pytest_collection_finish() -> None:
    """What is imported by now stays to the end, so that no collection of garbage need look through it."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """What native packages count as leaked is thawed again."""
    gc.unfreeze()
