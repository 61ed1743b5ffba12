"""A taught folder for tests that kill what works on it."""

from pathlib import Path

import pytest

from tests.taught import Taught, teach


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    """A folder with three tasks learned; not to be changed."""
    return teach(tmp_path_factory.mktemp("taught"))


@pytest.fixture
def folder(taught: Taught, tmp_path: Path) -> Path:
    """A copy of the taught folder, for this test alone."""
    return taught.copied(tmp_path / "data")
