"""The campaigns in short, and that their proof finds what is wrong (`./scripts/campaign` runs the long ones)."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.campaign import kills, proof, swaps
from tests.faults.campaign.record import Record
from tests.faults.invariants import every, opened
from tests.taught import Taught


def test_kills_at_random_under_load_lose_nothing_that_was_acknowledged(folder: Path) -> None:
    figures = kills.run(folder, 5, seed=3, longest_pause_s=2.0)
    assert figures.disproved == []
    assert figures.killed.total() == 5
    assert figures.tasks.total() == len(figures.record.accepted) > 0
    assert figures.record.answers and figures.record.promoted


@pytest.fixture(scope="module")
def swapped(taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """What a short campaign of swaps left, and what its clients wrote down."""
    folder = taught.copied(tmp_path_factory.mktemp("swapped") / "data")
    figures = swaps.run(folder, 20, 1000)
    assert figures.disproved == []
    assert len(figures.record.promoted) >= 20
    assert len(figures.record.answers) >= 1000
    return folder, figures.record


def test_swaps_under_load_fail_no_request_and_mix_no_answers(swapped: tuple[Path, Record]) -> None:
    _, record = swapped
    assert {answer.version for answer in record.answers} == {2, 4, 6}
    assert record.outages == Counter()


def test_the_proof_finds_what_is_wrong(swapped: tuple[Path, Record], tmp_path: Path) -> None:
    folder, record = swapped
    lost = replace(record, accepted=["0123456789abcdef"])
    assert any("is lost" in line for line in proof.disproved(folder, lost))
    undone = replace(record, promoted=[*record.promoted, {"seq": 10_000, "version": 2, "previous": 4}])
    assert any("not in the log" in line for line in proof.disproved(folder, undone))
    last = record.answers[-1]
    late = replace(record, answers=[replace(last, floor=last.seq + 1)])
    assert any("had been acknowledged" in line for line in proof.disproved(folder, late))
    early = replace(record, answers=[replace(last, received_s=0.0)])
    assert any("before promotion" in line for line in proof.disproved(folder, early))
    foreign = replace(record, answers=[replace(last, version=last.version + 1)])
    assert any("not its own" in line for line in proof.disproved(folder, foreign))
    mixed = replace(record, scores={(2, 0): record.scores[4, 0]})
    assert any("is not its own" in line for line in proof.disproved(folder, mixed))


def test_the_proof_finds_what_is_missing_on_the_disk(swapped: tuple[Path, Record], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(swapped[0], folder)
    with opened(folder) as (ledger, blobs):
        version = every(ledger.versions)[0]
        blobs.delete(f"manifests/{version.digest}")
    assert f"version {version.version} is ready: there is no blob manifests/{version.digest}" in proof.disproved(
        folder, Record()
    )
