"""The features of each task in a folder, for experiments with heads and statistics that learn nothing again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, eq=False)
class Run:
    """What one run of stage 1 left: the method that led it, its seed, its tasks in order."""

    name: str
    seed: int
    tasks: tuple[Kept, ...]


def features_file(folder: Path, lead: str, seed: int, task: int) -> Path:
    """Where the features of task number `task` (from 0) are kept; `lead` is the first method of the chain."""
    return folder / f"{lead}-seed{seed}-task{task}.npz"


def keep(file: Path, tuned: Tuned, snapshot: Snapshot, test: TestFeatures) -> None:
    """What a task leaves in the run of the snapshot's method. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    before, after = tuned.features.before, tuned.features.after
    others: dict[str, Any] = {f"{name}_old_ND": features_ND for name, features_ND in before.others.items()}
    others |= {f"{name}_new_ND": features_ND for name, features_ND in after.others.items()}
    np.savez(
        file,
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


def runs(folder: Path) -> Iterator[Run]:
    """Each whole run in the folder. Raises OSError."""
    for first in sorted(folder.glob("*-seed*-task0.npz")):
        lead, _, seed = first.name.removesuffix("-task0.npz").rpartition("-seed")
        tasks: list[Kept] = []
        while (path := features_file(folder, lead, int(seed), len(tasks))).is_file():
            with np.load(path) as arrays:
                tasks.append(dict(arrays))
        yield Run(lead, int(seed), tuple(tasks))
