"""The same contract over HTTP, on a real server that is killed in between.

The suite plays its histories one after another on one server. `EVERCLASS_EXAMPLES` asks for more, each on a server of
its own so that one that fails can be made smaller; `EVERCLASS_STEPS` for longer ones.
"""

import itertools
from pathlib import Path

import pytest

from tests.faults.machine.http_rules import ServerMachine
from tests.faults.machine.over_http import bodies_of, open_stage
from tests.faults.test_machine import EXAMPLES, play
from tests.taught import Taught

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
    stage = open_stage(tmp_path / "data", bodies)
    played = [ServerMachine(stage)]

    def going_on() -> ServerMachine:
        played.append(ServerMachine(stage, played[-1]))
        return played[-1]

    try:
        play(going_on, HISTORIES)
    finally:
        played[-1].end()
    assert {status for _, _, status in stage.writes} >= {200, 202, 409}
    assert min(len(played[-1].plain.log), len(played[-1].plain.versions)) > HISTORIES
