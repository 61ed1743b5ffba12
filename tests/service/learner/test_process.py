"""The learner process beside another one."""

import logging
import socket
import threading
from pathlib import Path

import pytest

from service.learner import process
from service.learner.process import LearnerProcess
from tests.service.learner.world import World

HELD = "another learner holds the lease: this one waits until that one ends"


@pytest.mark.parametrize(("longest_s", "told"), [(0.0, [HELD]), (60.0, [])], ids=["a second one", "after a kill"])
def test_a_learner_that_waits_for_another_says_so_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    longest_s: float,
    told: list[str],
) -> None:
    monkeypatch.setattr(process, "LEASE_TTL_S", longest_s)
    monkeypatch.setattr(process, "LEASE_WAIT_S", 0.02)
    world = World.new(tmp_path)
    assert world.ledger.acquire_lease("learner", "another", socket.gethostname(), 60) is not None
    stop = threading.Event()
    threading.Timer(1.0, stop.set).start()
    with caplog.at_level(logging.WARNING, "service"):
        LearnerProcess(world.settings, world.ledger, stop).run()
    assert [one.getMessage() for one in caplog.records if one.name == process.__name__] == told
    world.close()
