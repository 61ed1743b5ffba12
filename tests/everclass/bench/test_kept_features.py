"""Features in a folder are of one configuration, and each run's of one run: what says otherwise is not joined."""

from pathlib import Path

import numpy as np
import pytest

from everclass.bench.chain import Chain, Extras, Listener
from everclass.bench.kept_features import check_folder, is_kept, of_one_length, origin, runs
from everclass.bench.progress import ProgressFolder
from model.methods import method_named
from tests.everclass.bench.lessons import TRAINING, course, weights

FEW, MANY = {"epochs": 4, "sizes": [2, 2]}, {"epochs": 8, "sizes": [2, 2]}
HERE, OTHER_STAGE, ELSEWHERE = origin(FEW, "sl"), origin(FEW, "lora"), origin(MANY, "sl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What one run of two tasks left."""
    folder = tmp_path / "features"
    progress, extras = ProgressFolder(tmp_path / "unfinished", {}, {}), Extras(features=folder, origin=HERE)
    of = course((0, 1), (2, 3))
    Chain({"ncm": method_named("ncm")}, of, TRAINING, weights(), progress, Listener(), extras).run()
    return folder


def rewritten(file: Path, origin: str | None, to: Path | None = None) -> None:
    """The same arrays of another origin, or of none as older code left them."""
    with np.load(file) as arrays:
        kept = {name: array for name, array in arrays.items() if name != "origin"}
    np.savez(to or file, **kept, **({} if origin is None else {"origin": np.array(origin)}))


def test_a_run_reads_back_with_its_arrays_alone(folder: Path) -> None:
    (run,) = runs(folder)
    assert (run.name, len(run.tasks)) == ("ncm", 2) and all("origin" not in kept for kept in run.tasks)
    assert [path.name for path in sorted(folder.iterdir())] == [f"ncm-seed{run.seed}-task{task}.npz" for task in (0, 1)]
    check_folder(folder, FEW)
    check_folder(folder.parent / "nothing yet", FEW)


def test_runs_whose_features_grow_longer_are_left_out_and_named(folder: Path, tmp_path: Path) -> None:
    longer, extras = ProgressFolder(tmp_path / "longer", {}, {}), Extras(features=folder, origin=HERE)
    Chain({"aper": method_named("aper")}, course((0, 1), (2, 3)), TRAINING, weights(), longer, Listener(), extras).run()
    said: list[str] = []
    (left,) = of_one_length(runs(folder), said.append)
    assert left.name == "ncm"
    assert said == [f"aper, seed {left.seed}, is left out: each task makes its features longer"]


def test_files_of_older_code_are_joined_and_nothing_is_kept_beside_them(folder: Path) -> None:
    for file in folder.iterdir():
        rewritten(file, None)
    (run,) = runs(folder)
    assert len(run.tasks) == 2
    with pytest.raises(
        ValueError, match=r"--features: .*task0\.npz does not say of which settings it is: name another"
    ):
        check_folder(folder, FEW)


@pytest.mark.parametrize("other", [OTHER_STAGE, ELSEWHERE, None])
def test_files_of_two_runs_are_not_joined(folder: Path, other: str | None) -> None:
    (seed,) = (run.seed for run in runs(folder))
    assert is_kept(folder, "ncm", seed, 2, HERE) and not is_kept(folder, "ncm", seed, 3, HERE)
    rewritten(folder / f"ncm-seed{seed}-task1.npz", other)
    assert not is_kept(folder, "ncm", seed, 2, HERE)
    with pytest.raises(ValueError, match=r"task1\.npz is of another run than ncm-seed\d+-task0\.npz beside it"):
        list(runs(folder))


def test_runs_of_two_settings_do_not_stand_side_by_side(folder: Path) -> None:
    (first,) = folder.glob("*-task0.npz")
    rewritten(first, OTHER_STAGE, folder / "lora-seed1-task0.npz")
    assert len(list(runs(folder))) == 2
    rewritten(first, ELSEWHERE, folder / "sl-seed1-task0.npz")
    with pytest.raises(ValueError, match=r"sl-seed1-task0\.npz is of other settings than lora-seed1-task0\.npz"):
        list(runs(folder))
    with pytest.raises(ValueError, match=r"sl-seed1-task0\.npz is of other settings \(epochs\): name another folder"):
        check_folder(folder, FEW)


def test_a_damaged_file_is_named_and_counts_as_not_kept(folder: Path) -> None:
    (first,) = folder.glob("*-task0.npz")
    (seed,) = (run.seed for run in runs(folder))
    first.write_bytes(first.read_bytes()[:1000])
    for read in (lambda: list(runs(folder)), lambda: check_folder(folder, FEW)):
        with pytest.raises(ValueError, match=r"task0\.npz is damaged"):
            read()
    assert not is_kept(folder, "ncm", seed, 2, HERE)
