"""What every test may ask for."""

import gc
import os
from pathlib import Path

import pytest

# Before torch is loaded: threads that spin while they wait take cores from others, and tiny networks mostly wait.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared images and weights that lies beside the project."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the shared images and weights beside the project")
    return SHARED


def pytest_collection_finish() -> None:
    """What is imported by now stays to the end, so that no collection of garbage need look through it."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """What native packages count as leaked is thawed again."""
    gc.unfreeze()
