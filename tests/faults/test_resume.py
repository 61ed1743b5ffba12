"""A learn that was cut short in any phase, epoch or step goes on to the very bytes of one that was left alone."""

import signal
from pathlib import Path

import pytest

from stream.versions import Version
from tests.faults.children import IMAGES, diary_of, learn, learn_until_stopped
from tests.faults.invariants import every, final_parts, opened
from tests.taught import Taught

LABELS = {label for _, label in IMAGES}
KILLED = -signal.SIGKILL

FIRST_RUN = (
    "features",
    "provisional",
    "evaluation of the provisional",
    "publishing of the provisional",
    "training",
    "statistics",
    "alignment",
    "evaluation",
    "publishing",
)
"""The phases in the order in which a task enters them."""

EPOCHS = 3
STEPS = (1, 4)
"""Steps after which the process is killed: in the first epoch and in later ones, between two checkpoints."""


@pytest.fixture(scope="module")
def undisturbed(taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    folder = taught.copied(tmp_path_factory.mktemp("undisturbed") / "data")
    assert learn(folder, "") == 0
    return final_parts(folder, LABELS)


@pytest.fixture(scope="module")
def compared(taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The parts where the moved backbone was held against the standing one."""
    folder = taught.copied(tmp_path_factory.mktemp("compared") / "data")
    assert learn(folder, "", moves="if_better") == 0
    (final,) = [version for version in versions(folder) if version.kind == "final" and set(version.labels) >= LABELS]
    assert final.gate["backbone"]["images"] > 0
    return final_parts(folder, LABELS)


def versions(folder: Path) -> list[Version]:
    """All versions of the folder."""
    with opened(folder) as (ledger, _):
        return list(every(ledger.versions))


def resumed(folder: Path) -> list[dict[str, str]]:
    """What the task comes to in a life after."""
    assert learn(folder, "", first=False) == 0
    return final_parts(folder, LABELS)


@pytest.mark.parametrize("phase", FIRST_RUN)
def test_killed_in_a_phase(folder: Path, undisturbed: list[dict[str, str]], phase: str) -> None:
    assert learn(folder, f"phase.entered:{1 + FIRST_RUN.index(phase)}") == KILLED
    with opened(folder) as (ledger, _):
        assert phase.startswith(every(ledger.tasks)[0].phase)
    assert resumed(folder) == undisturbed


@pytest.mark.parametrize("phase", FIRST_RUN[-4:])
def test_killed_in_a_phase_where_the_backbone_may_stand(
    folder: Path, compared: list[dict[str, str]], phase: str
) -> None:
    orders = f"phase.entered:{1 + FIRST_RUN.index(phase)}"
    assert learn(folder, orders, moves="if_better") == KILLED
    assert learn(folder, "", first=False, moves="if_better") == 0
    assert final_parts(folder, LABELS) == compared


@pytest.mark.parametrize("epoch", range(1, EPOCHS + 1))
def test_killed_at_the_end_of_an_epoch(folder: Path, undisturbed: list[dict[str, str]], epoch: int) -> None:
    assert learn(folder, f"checkpoint.named:{epoch}") == KILLED
    with opened(folder) as (ledger, _):
        checkpoint = ledger.checkpoint(every(ledger.tasks)[0].id)
        assert checkpoint is not None
        assert checkpoint.info["epoch"] == epoch
    assert resumed(folder) == undisturbed


@pytest.mark.parametrize("step", STEPS)
def test_killed_between_two_steps(folder: Path, undisturbed: list[dict[str, str]], step: int) -> None:
    assert learn(folder, f"training.stepped:{step}") == KILLED
    assert resumed(folder) == undisturbed


def test_asked_to_stop_it_stops_at_the_next_micro_batch_and_goes_on_from_the_last_checkpoint(
    folder: Path, undisturbed: list[dict[str, str]]
) -> None:
    assert learn_until_stopped(folder, "training.stepped:4=term") == 0
    (reached,) = diary_of(folder).all("reached")
    assert isinstance(reached, dict)
    assert reached["training.stepped"] == 4
    with opened(folder) as (ledger, _):
        task = every(ledger.tasks)[0]
        assert (task.state, task.attempts) == ("queued", 1)
    assert resumed(folder) == undisturbed


def test_a_checkpoint_that_is_damaged_makes_the_task_start_again(
    folder: Path, undisturbed: list[dict[str, str]]
) -> None:
    assert learn(folder, "checkpoint.named:2") == KILLED
    with opened(folder) as (ledger, blobs):
        checkpoint = ledger.checkpoint(every(ledger.tasks)[0].id)
        assert checkpoint is not None
        path = blobs.root / checkpoint.key
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert resumed(folder) == undisturbed
