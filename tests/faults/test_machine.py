"""Learn, commit, cancel, retry, roll back, promote, delete, crash and restart in any order, against the contract.

`EVERCLASS_EXAMPLES` asks for more histories than the suite has time for; `EVERCLASS_STEPS` for longer ones.
"""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.invariants import broken
from tests.faults.machine.rules import Machine
from tests.faults.machine.stage import Stage
from tests.stream.conftest import fresh_postgres, postgres

__all__ = ["postgres"]

EXAMPLES = int(os.environ.get("EVERCLASS_EXAMPLES", 0))
STEPS = int(os.environ.get("EVERCLASS_STEPS", 40))


class FolderMachine(Machine):
    """On SQLite and a folder: at the end of a history the data folder is looked at too."""

    def teardown(self) -> None:
        self.stage.close()
        assert broken(self.stage.folder, list(self.plain.tasks), []) == []


class PostgresMachine(Machine):
    """On PostgreSQL."""

    def teardown(self) -> None:
        self.stage.close()


def histories(examples: int) -> hypothesis.settings:
    """So many histories, the same ones at every run unless more are asked for."""
    return hypothesis.settings(
        max_examples=EXAMPLES or examples,
        stateful_step_count=STEPS,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def play(machine: Callable[[], Machine], examples: int) -> None:
    """Histories of one kind of machine."""
    run_state_machine_as_test(machine, settings=histories(examples))


@pytest.mark.timeout(0)
def test_sqlite_and_a_folder_keep_the_contract_through_any_history(tmp_path: Path) -> None:
    numbers = itertools.count()

    def machine() -> Machine:
        folder = tmp_path / str(next(numbers))
        return FolderMachine(Stage(f"sqlite:///{folder / 'everclass.db'}", folder))

    play(machine, 8)


@pytest.mark.timeout(0)
def test_postgresql_keeps_the_contract_too(tmp_path: Path, postgres: str) -> None:
    numbers = itertools.count()

    def machine() -> Machine:
        return PostgresMachine(Stage(fresh_postgres(postgres), tmp_path / str(next(numbers))))

    play(machine, 2)
