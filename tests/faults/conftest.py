"""What tests begin with that take a process or its disk away."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.disk.disk import Disk, Stage, compiled


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands between a process and its disk."""
    return compiled(tmp_path_factory.mktemp("library"))


@pytest.fixture
def disk(library: Path, tmp_path: Path) -> Disk:
    """An empty disk that forgets and fails."""
    return Disk.new(library, tmp_path)


@pytest.fixture(scope="session")
def stage(library: Path) -> Iterator[Stage]:
    """Where scenes are played that need no learning."""
    with Stage.open(library, "tests.faults.disk.scenes") as stage:
        yield stage
