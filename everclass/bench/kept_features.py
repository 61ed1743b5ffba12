"""The features of each task in a folder, for experiments with heads and statistics that learn nothing again."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from everclass.bench.scoring import TestFeatures
from model.continual import Tuned
from model.snapshot import Snapshot

Kept = Mapping[str, NDArray[Any]]
"""`old_ND` and `new_ND` are a task's training images before and after stage 1, `columns_N` their columns; `test_ND` and
`test_columns_N` the test images of all tasks so far. `weight_CD` and `bias_C` are the un-aligned head, `blocks_C` the
task of each class. Other views have their name in front, as `turned_old_ND`.
"""


ORIGIN = "origin"
"""What a file says of the run that it is of, beside its arrays: a text."""

FILES, FIRST_FILES = "*-seed*-task*.npz", "*-seed*-task0.npz"


@dataclass(frozen=True, eq=False)
class Run:
    """What one run of stage 1 left: the method that led it, its seed, its tasks in order."""

    name: str
    seed: int
    tasks: tuple[Kept, ...]

    @property
    def lengthens(self) -> bool:
        """Whether its features grow longer than its head's rows, as where each task adds a sub-space: no statistics or
        head over all tasks can be made of them.
        """
        return len({kept[name].shape[1] for kept in self.tasks for name in ("old_ND", "new_ND", "weight_CD")}) > 1


def features_file(folder: Path, lead: str, seed: int, task: int) -> Path:
    """Where the features of task number `task` (from 0) are kept; `lead` is the first method of the chain."""
    return folder / f"{lead}-seed{seed}-task{task}.npz"


def origin(configuration: Mapping[str, Any], stage_1: Any) -> str:
    """What files say of themselves, of plain JSON values: `configuration` is that of all runs of a folder, `stage_1`
    what made this run's features.
    """
    return json.dumps({"configuration": configuration, "stage_1": stage_1}, sort_keys=True)


def is_kept(folder: Path, lead: str, seed: int, tasks: int, origin: str) -> bool:
    """Whether the features of all tasks are there, whole and of this origin."""
    return all(_is_of(features_file(folder, lead, seed, task), origin) for task in range(tasks))


def _is_of(file: Path, origin: str) -> bool:
    try:
        return file.is_file() and _origin_of(file) == origin
    except ValueError:
        return False


def check_folder(folder: Path, configuration: Mapping[str, Any]) -> None:
    """That runs of this configuration may be kept there. Raises OSError, and ValueError naming a file that is of
    another one, does not say of which, or is damaged.
    """
    wanted = json.loads(json.dumps(configuration))
    for file in sorted(folder.glob(FILES)):
        found = _configuration(_origin_of(file))
        if found == wanted:
            continue
        others = [name for name in {**wanted, **(found or {})} if (found or {}).get(name) != wanted.get(name)]
        said = f"is of other settings ({', '.join(others)})" if found else "does not say of which settings it is"
        raise ValueError(
            f"--features: {file} {said}: name another folder, so that runs do not mix, or remove those there"
        )


def keep(file: Path, tuned: Tuned, snapshot: Snapshot, test: TestFeatures, origin: str) -> None:
    """What a task leaves in the run of the snapshot's method, whole or not at all. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    before, after = tuned.features.before, tuned.features.after
    others: dict[str, Any] = {f"{name}_old_ND": features_ND for name, features_ND in before.others.items()}
    others |= {f"{name}_new_ND": features_ND for name, features_ND in after.others.items()}
    others[ORIGIN] = np.array(origin)
    begun = file.with_name(f".{file.name}.begun")
    with begun.open("wb") as target:
        np.savez(
            target,
            old_ND=before.features_ND,
            new_ND=after.features_ND,
            columns_N=tuned.block.image_columns_N,
            blocks_C=snapshot.blocks_C,
            test_ND=np.concatenate(test.seen),
            test_columns_N=np.concatenate(test.columns(snapshot)),
            weight_CD=snapshot.unaligned.weight_CD,
            bias_C=snapshot.unaligned.bias_C,
            **others,
        )
    begun.replace(file)


def runs(folder: Path) -> Iterator[Run]:
    """Each whole run in the folder. Raises OSError, and ValueError for a damaged file and for files that are not of one
    run or runs that are not of one configuration.
    """
    configurations: dict[str, Any] = {}
    for first in sorted(folder.glob(FIRST_FILES)):
        lead, _, seed = first.name.removesuffix("-task0.npz").rpartition("-seed")
        of_run = _origin_of(first)
        configurations[first.name] = _configuration(of_run)
        if configurations[first.name] != next(iter(configurations.values())):
            raise ValueError(f"{first} is of other settings than {next(iter(configurations))} beside it")
        tasks: list[Kept] = []
        while (path := features_file(folder, lead, int(seed), len(tasks))).is_file():
            if _origin_of(path) != of_run:
                raise ValueError(f"{path} is of another run than {first.name} beside it: keep these features anew")
            tasks.append(_arrays(path))
        yield Run(lead, int(seed), tuple(tasks))


def of_one_length(found: Iterable[Run], say: Callable[[str], None]) -> Iterator[Run]:
    """The runs that heads and statistics can be made of; of each other one it is said that it is left out."""
    for run in found:
        if run.lengthens:
            say(f"{run.name}, seed {run.seed}, is left out: each task makes its features longer")
        else:
            yield run


def _arrays(file: Path) -> Kept:
    with _opened(file) as arrays:
        return {name: array for name, array in arrays.items() if name != ORIGIN}


def _origin_of(file: Path) -> str:
    """What the file says of itself; nothing where older code wrote it. Raises OSError and ValueError."""
    with _opened(file) as arrays:
        return str(arrays[ORIGIN]) if ORIGIN in arrays else ""


@contextmanager
def _opened(file: Path) -> Iterator[Kept]:
    try:
        with file.open("rb") as source, np.load(source) as arrays:
            yield arrays
    except (BadZipFile, ValueError, EOFError) as error:
        raise ValueError(f"{file} is damaged: {error}") from error


def _configuration(origin: str) -> Any:
    return json.loads(origin)["configuration"] if origin else None
