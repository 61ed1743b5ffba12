"""A learner whose GPU is lost ends, and takes no task with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from service.learner.device import loses_device
from tests.digits import labelled
from tests.service.learner.world import World

LOST = "CUDA error: device-side assert triggered"
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB"

PROGRAM = f"""
import sys

from model import first_stage
from service.learner.process import run
from service.settings import load_settings


def start(*_):
    raise RuntimeError({LOST!r})


first_stage.start = start
sys.exit(run(load_settings().settings))
"""
"""A learner process on whose GPU every training breaks off."""


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError(LOST), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), True),
        (torch.AcceleratorError("an illegal memory access was encountered", 700), True),
        (torch.OutOfMemoryError(FULL), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError(LOST), False),
    ],
)
def test_errors_that_leave_no_device_are_told_from_others(error: Exception, lost: bool) -> None:
    assert loses_device(error) is lost
    try:
        try:
            raise error
        except Exception:
            raise ValueError("a checkpoint could not be saved")  # noqa: B904
    except ValueError as later:
        assert loses_device(later) is lost


def test_a_task_whose_learner_lost_its_device_goes_on_with_the_next_process(tmp_path: Path, seed: Path) -> None:
    world = World.new(tmp_path, seed)
    task = world.send(labelled(0, 1, count=10))
    environment = os.environ | world.settings.to_environment()
    ended = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert LOST in ended.stderr
    left = world.ledger.task(task.id)
    assert (left.state, left.phase, left.reason) == ("learning", "training", None)
    world.learn_all()
    learned = world.ledger.task(task.id)
    assert (learned.state, learned.attempts) == ("done", 2)
    world.close()
