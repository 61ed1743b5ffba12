"""`python -m benchmarks.accuracy.heads --features FOLDER`: what heads make of runs of the slow learner.

`everclass bench --features FOLDER` keeps each task's features and un-aligned head; nothing is learned again here. The
experiments (`benchmarks/accuracy/experiments.py`) vary alignment, statistics and what they are made of. Choices are
made on features of `--evaluation validation`.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from benchmarks.accuracy.experiments import EXPERIMENTS, Setting
from everclass.bench.kept_features import Kept, Run, of_one_length, runs
from model.aligners import GaussianAligner
from model.backbones.seen import PairedFeatures, Seen
from model.heads.alignment import align
from model.heads.head import Head
from model.method import AlignmentTask
from model.statistics.class_statistics import ClassStatistics
from model.statistics.drift import DriftMap


class Missing(Exception):
    """The features hold no view that a setting needs."""


@dataclass(frozen=True)
class Curve:
    """Accuracy over all classes seen, after each task; one run."""

    accuracies: tuple[float, ...]

    @property
    def last_and_mean(self) -> tuple[float, float]:
        """Last-Acc and Inc-Acc, as rates."""
        return self.accuracies[-1], float(np.mean(self.accuracies))


@dataclass(frozen=True, eq=False)
class Reached:
    """Where a setting stands after a task: its test features and their columns, the head over all classes so far, what
    that was made from, and the task of each class.
    """

    test_ND: NDArray[np.float32]
    test_columns_N: NDArray[np.int64]
    head: Head
    statistics: ClassStatistics
    blocks_C: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Remembered:
    """Statistics by class, and by centroid where classes have several; `columns_G` is the class of each centroid."""

    classes: ClassStatistics
    centroids: ClassStatistics
    columns_G: NDArray[np.int64]

    @classmethod
    def nothing(cls, dimension: int) -> "_Remembered":
        empty = ClassStatistics.empty(dimension)
        return cls(empty, empty, np.zeros(0, np.int64))

    def moved(self, drift: DriftMap) -> "_Remembered":
        return _Remembered(drift.carry(self.classes), drift.carry(self.centroids), self.columns_G)

    def with_task(self, kept: Kept, columns_N: NDArray[np.int64], classes: int, setting: Setting) -> "_Remembered":
        merged = self.classes.merged(setting.stored(_new(kept, columns_N, classes, setting)))
        if setting.centroids == 1:
            return _Remembered(merged, merged, np.arange(classes))
        centroid_N, columns_G = centroids(kept["new_ND"], columns_N, setting.centroids)
        before, count = len(self.columns_G), len(columns_G)
        new = ClassStatistics.from_features(kept["new_ND"], before + centroid_N, before + count)
        return _Remembered(
            merged, self.centroids.merged(setting.stored(new)), np.concatenate([self.columns_G, columns_G])
        )


def reached(run: Run, setting: Setting) -> Iterator[Reached]:
    """Where a setting stands after each task of a run."""
    remembered = _Remembered.nothing(run.tasks[0]["old_ND"].shape[1])
    for number, kept in enumerate(run.tasks, start=1):
        columns_N, blocks_C = kept["columns_N"].astype(np.int64), kept["blocks_C"].astype(np.int64)
        if setting.drift is not None and number > 1:
            remembered = remembered.moved(setting.drift.fit(*_moved(kept, columns_N, setting)))
        remembered = remembered.with_task(kept, columns_N, len(blocks_C), setting)
        head = Head(kept["weight_CD"], kept["bias_C"])
        if setting.aligner is not None and (number > 1 or setting.aligner.on_first_task):
            scaled = setting.scaled(remembered.classes, blocks_C)
            task = AlignmentTask(head, scaled, blocks_C, number, kept["new_ND"], columns_N, {}, run.seed)
            head = _aligned(task, setting, remembered)
        yield Reached(kept["test_ND"], kept["test_columns_N"].astype(np.int64), head, remembered.classes, blocks_C)


def _aligned(task: AlignmentTask, setting: Setting, remembered: _Remembered) -> Head:
    aligner = setting.aligner
    if setting.centroids == 1 or not isinstance(aligner, GaussianAligner):
        assert aligner is not None
        return aligner.align(task).head
    return align(
        aligner.starting_head(task),
        remembered.centroids,
        task.blocks_C,
        task.block,
        aligner.plan,
        seed=task.seed,
        columns_G=remembered.columns_G,
    )


def judged(run: Run, setting: Setting) -> Curve:
    """What a setting makes of a run."""
    return Curve(
        tuple(
            float((one.head.logits(one.test_ND).argmax(axis=1) == one.test_columns_N).mean())
            for one in reached(run, setting)
        )
    )


def centroids(
    features_ND: NDArray[np.float32], columns_N: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which centroid each feature is nearest to, `count` of each class by k-means, and the class of each centroid.

    A class has fewer where it has fewer images, or where one was left with none.
    """
    centroid_N, columns = np.zeros(len(columns_N), np.int64), list[int]()
    for column in np.unique(columns_N):
        mine_N = columns_N == column
        _, nearest_N = kmeans2(
            features_ND[mine_N].astype(np.float64), min(count, int(mine_N.sum())), minit="++", seed=int(column)
        )
        places, inner_N = np.unique(nearest_N, return_inverse=True)
        centroid_N[mine_N] = len(columns) + inner_N
        columns += [int(column)] * len(places)
    return centroid_N, np.array(columns, dtype=np.int64)


def _new(kept: Kept, columns_N: NDArray[np.int64], classes: int, setting: Setting) -> ClassStatistics:
    """Statistics of the task's classes, of their first images where the setting takes fewer than there are."""
    rank_N = np.zeros(len(columns_N), np.int64)
    for column in np.unique(columns_N):
        mine_N = columns_N == column
        rank_N[mine_N] = np.arange(mine_N.sum())
    chosen_N = rank_N < (setting.images or len(rank_N))
    others = [_kept(kept, "middle_new_ND", "+views")[chosen_N]] if setting.two_views else []
    return ClassStatistics.from_features(kept["new_ND"][chosen_N], columns_N[chosen_N], classes, *others)


def _moved(
    kept: Kept, columns_N: NDArray[np.int64], setting: Setting
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """What a drift map is fitted on: the task's images before and after, and their classes."""
    before, after = Seen(kept["old_ND"]), Seen(kept["new_ND"])
    if setting.turned:
        before = Seen(kept["old_ND"], {"turned": _kept(kept, "turned_old_ND", "+turned")})
        after = Seen(kept["new_ND"], {"turned": _kept(kept, "turned_new_ND", "+turned")})
    return PairedFeatures(before, after).of_drift(columns_N)


def _kept(kept: Kept, name: str, modifier: str) -> NDArray[np.float32]:
    if name not in kept:
        raise Missing(f"these features hold no {name}: keep those of a method with {modifier}")
    return kept[name]


def cut_to(run: Run, count: int | None) -> Run:
    """The first `count` numbers of each feature (None: all)."""
    return replace(run, tasks=tuple({key: _cut(key, one, count) for key, one in kept.items()} for kept in run.tasks))


def _cut(key: str, values: NDArray[Any], count: int | None) -> NDArray[Any]:
    return values[..., :count] if key.endswith("D") else values


@click.command()
@click.option(
    "--features", "folders", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True, multiple=True
)
@click.option("--run", "leads", multiple=True, help="Runs that this method led.  [all]")
@click.option("--experiment", "names", type=click.Choice(list(EXPERIMENTS)), multiple=True, help="[all]")
@click.option("--leading", type=click.IntRange(1), help="The first numbers of each feature alone.  [all]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path))
def main(
    folders: tuple[Path, ...], leads: tuple[str, ...], names: tuple[str, ...], leading: int | None, out: Path | None
) -> None:
    """Last-Acc / Inc-Acc of every setting, means of the seeds of each run; a column for each folder and leading method.

    What a run has no views for is a dash; experiments that no run has views for are left out unless they are named. OUT
    holds the tables alone.
    """
    columns: dict[str, list[Run]] = {}
    for folder in folders:
        wanted = (cut_to(run, leading) for run in runs(folder) if not leads or run.name in leads)
        for run in of_one_length(wanted, partial(click.echo, err=True)):
            name = run.name if len(folders) == 1 else f"{folder.name}: {run.name}"
            columns.setdefault(name, []).append(run)
    if not columns:
        raise click.ClickException("there is no run that heads can be made of")
    lines = [
        "# Heads on runs of stage 1",
        "",
        f"    {shlex.join(['python', '-m', 'benchmarks.accuracy.heads'])} …",
        "",
    ]
    for name in names or EXPERIMENTS:
        try:
            found = list(_table(name, columns))
        except Missing as error:
            if names:
                raise click.ClickException(f"{name}: {error}") from error
            click.echo(f"{name} is left out: {error}", err=True)
            continue
        click.echo("\n".join(found))
        lines += found
        if out is not None:
            out.write_text("\n".join(lines))


def _table(name: str, columns: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    experiment = EXPERIMENTS[name]
    yield from (f"## {name}: {experiment.question}", "")
    heads = [f"{title}, seeds {', '.join(str(run.seed) for run in column)}" for title, column in columns.items()]
    yield f"| setting | {' | '.join(heads)} |"
    yield "| --- |" + " --- |" * len(heads)
    for title, setting in experiment.settings.items():
        yield f"| {title} | {' | '.join(_cells(list(columns.values()), setting))} |"
    yield ""


def _cells(columns: Sequence[Sequence[Run]], setting: Setting) -> list[str]:
    """A dash where a run lacks views; raises Missing where all do."""
    found, lacking = list[str](), list[Missing]()
    for column in columns:
        try:
            found.append(cell(column, setting))
        except Missing as error:
            lacking.append(error)
            found.append("–")
    if lacking and len(lacking) == len(columns):
        raise lacking[0]
    return found


def cell(of_lead: Sequence[Run], setting: Setting) -> str:
    """Last-Acc / Inc-Acc in percent, means of the seeds."""
    last, mean = np.mean([judged(run, setting).last_and_mean for run in of_lead], axis=0)
    return f"{100 * last:.1f} / {100 * mean:.1f}"


if __name__ == "__main__":
    main()
