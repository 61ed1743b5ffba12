"""`python -m benchmarks.accuracy.heads --features FOLDER`: what heads make of one run of the slow learner.

`everclass bench --features FOLDER` keeps each task's features and un-aligned head; nothing is learned again here.
Choices
are made on features of `--evaluation validation`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from model.aligners import ClosedFormAligner, GaussianAligner
from model.alignment import AlignmentPlan
from model.drift import RidgeDrift
from model.head import Head
from model.method import Aligner, AlignmentTask
from model.statistics import ClassStatistics

Kept = dict[str, NDArray[np.float32]]


def warm(**changes: object) -> Aligner:
    """Alignment from the discriminant, with other settings of stage 2."""
    return GaussianAligner(AlignmentPlan(**changes), on_first_task=True, start="discriminant")  # type: ignore[arg-type]


HEADS: dict[str, Aligner] = {
    "aligned from the un-aligned head (the paper)": GaussianAligner(),
    "linear discriminant": ClosedFormAligner("lda"),
    "ridge regression": ClosedFormAligner("ridge"),
    "nearest mean": ClosedFormAligner("nearest_mean"),
    "aligned from the discriminant": warm(),
    "… without mean decay": warm(mean_decay=False),
    "… without logit normalisation": warm(logit_norm=False),
    "… τ 0.05": warm(tau=0.05),
    "… τ 0.2": warm(tau=0.2),
    "… rate 0.003": warm(lr=0.003),
    "… rate 0.03": warm(lr=0.03),
    "… 64 samples a class": warm(samples_per_class=64),
    "… 15 epochs": warm(epochs=15),
}


@dataclass(frozen=True)
class Curve:
    """Accuracy over all classes seen, after each task."""

    accuracies: tuple[float, ...]

    def text(self) -> str:
        """Last-Acc / Inc-Acc in percent."""
        return f"{100 * self.accuracies[-1]:.1f} / {100 * np.mean(self.accuracies):.1f}"


def judged(tasks: list[Kept], drift: RidgeDrift | None, aligner: Aligner, seed: int) -> Curve:
    """What a head makes of a run whose statistics are carried by `drift`."""
    statistics = ClassStatistics.empty(tasks[0]["old_ND"].shape[1])
    accuracies = []
    for number, kept in enumerate(tasks, start=1):
        columns_N, blocks_C = kept["columns_N"].astype(np.int64), kept["blocks_C"].astype(np.int64)
        if drift is not None and number > 1:
            statistics = drift.fit(kept["old_ND"], kept["new_ND"], columns_N).carry(statistics)
        statistics = statistics.merged(ClassStatistics.from_features(kept["new_ND"], columns_N, len(blocks_C)))
        head = Head(kept["weight_CD"], kept["bias_C"])
        if number > 1 or aligner.on_first_task:
            task = AlignmentTask(head, statistics, blocks_C, number, kept["new_ND"], columns_N, {}, seed)
            head = aligner.align(task).head
        answers_N = head.logits(kept["test_ND"]).argmax(axis=1)
        accuracies.append(float((answers_N == kept["test_columns_N"]).mean()))
    return Curve(tuple(accuracies))


def runs(folder: Path) -> Iterator[tuple[str, int, list[Kept]]]:
    """Each run in the folder: the method that led it, its seed, its tasks in order."""
    for first in sorted(folder.glob("*-seed*-task0.npz")):
        name, _, seed = first.name.removesuffix("-task0.npz").rpartition("-seed")
        tasks: list[Kept] = []
        while (path := folder / f"{name}-seed{seed}-task{len(tasks)}.npz").is_file():
            with np.load(path) as arrays:
                tasks.append({key: arrays[key] for key in arrays.files})
        yield name, int(seed), tasks


@click.command()
@click.option("--features", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path))
def main(features: Path, out: Path | None) -> None:
    """A row a head: Last-Acc / Inc-Acc with statistics as stored and carried along."""
    lines = [line for run in runs(features) for line in _table(*run)]
    click.echo("\n".join(lines))
    if out is not None:
        out.write_text("\n".join(["# Heads on one run of the slow learner", "", *lines]))


def _table(name: str, seed: int, tasks: list[Kept]) -> Iterator[str]:
    yield from (f"## Stage 1 of {name}, seed {seed}, {len(tasks)} tasks", "")
    yield from ("| head | as stored | carried |", "| --- | --- | --- |")
    for head, aligner in HEADS.items():
        cells = [judged(tasks, drift, aligner, seed).text() for drift in (None, RidgeDrift())]
        yield f"| {head} | {' | '.join(cells)} |"
    yield ""


if __name__ == "__main__":
    main()
