"""The same contract over HTTP, on a real server that is killed in between.

The suite plays its histories one after another on one server. `EVERCLASS_EXAMPLES` asks for more, each on a server of
its own so that one that fails can be made smaller; `EVERCLASS_STEPS` for longer ones.
"""

import itertools
from pathlib import Path

import pytest

from tests.faults.machine.http_rules import ServerMachine
from tests.faults.machine.over_http import ServerStage, bodies_of, open_stage
from tests.faults.test_machine import EXAMPLES, play
from tests.stream.conftest import fresh_postgres, postgres
from tests.taught import Taught

__all__ = ["postgres"]

HISTORIES = 8
"""The first that Hypothesis plays is the simplest there is: one rule again and again."""


class OwnServer(ServerMachine):
    """Each history on a server of its own."""

    most_deaths = 3

    def teardown(self) -> None:
        self.end()


@pytest.mark.timeout(0)
def test_a_server_keeps_the_contract_over_http(tmp_path: Path, taught: Taught) -> None:
    bodies = bodies_of(taught)
    if EXAMPLES:
        numbers = itertools.count()
        play(lambda: OwnServer(open_stage(tmp_path / str(next(numbers)), bodies)), EXAMPLES)
        return
    play_on_one(open_stage(tmp_path / "data", bodies), HISTORIES)


@pytest.mark.timeout(0)
def test_a_server_on_postgresql_keeps_it_too(tmp_path: Path, taught: Taught, postgres: str) -> None:
    bodies = bodies_of(taught)
    if EXAMPLES:
        numbers = itertools.count()
        play(lambda: OwnServer(open_stage(tmp_path / str(next(numbers)), bodies, fresh_postgres(postgres))), EXAMPLES)
        return
    play_on_one(open_stage(tmp_path / "data", bodies, fresh_postgres(postgres)), HISTORIES // 2)


def play_on_one(stage: ServerStage, histories: int) -> None:
    """Histories that go on from each other, on one server, which is told to leave."""
    played = [ServerMachine(stage)]

    def going_on() -> ServerMachine:
        played.append(ServerMachine(stage, played[-1]))
        return played[-1]

    try:
        play(going_on, histories)
    finally:
        played[-1].end()
    assert {status for _, _, status in stage.writes} >= {200, 202, 409}
    assert min(len(played[-1].plain.log), len(played[-1].plain.versions)) >= histories
