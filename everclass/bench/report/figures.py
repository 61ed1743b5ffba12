"""Means and deviations over seeds: what every form of the report shows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from everclass.bench.report.settings import by_setting
from everclass.bench.results import Result
from model.judging.evaluation import AccuracyMatrix, Floats
from model.methods import UnknownMethod, method_named


@dataclass(frozen=True)
class Figure:
    """The mean over the seeds that have it, and their sample deviation (None for one); None where no seed has it.

    `seeds` have it, of the `of` that the row has.
    """

    mean: float | None
    deviation: float | None
    seeds: int
    of: int

    def text(self, scale: float = 100.0, digits: int = 1, unit: str = "") -> str:
        """`68.5 ± 0.4`, `68.5`, `68.5 (1 of 3)` where only one of three seeds has it, or a dash."""
        if self.mean is None:
            return "–"
        deviation = "" if self.deviation is None else f" ± {scale * self.deviation:.{digits}f}"
        seeds = "" if self.seeds == self.of else f" ({self.seeds} of {self.of})"
        return f"{scale * self.mean:.{digits}f}{deviation}{unit}{seeds}"


@dataclass(frozen=True)
class Row:
    """One method under one protocol and configuration, over its seeds. Accuracies in 0–1, seconds, bytes.

    `setting` is what sets the configuration apart from others of the protocol; empty where there is no other.
    `inc_acc`, `calibration_error` and `novelty_auroc` are means over tasks; all other rates hold after the last task.
    The latter two are there of lines by today's rules (`Result.is_by_rule`).
    `last_acc` counts images and `task_mean` tasks, which has none where all is one task; `uneven` says that the two may
    differ, since tasks have different numbers of test images. `mixed` says of which code and torch the lines are, where
    they are not all of one: their figures may differ by more than the seed.
    """

    method: str
    protocol: str
    setting: str
    seeds: tuple[int, ...]
    uneven: bool
    last_acc: Figure
    task_mean: Figure
    inc_acc: Figure
    forgetting: Figure
    backward_transfer: Figure
    calibration_error: Figure
    novelty_auroc: Figure
    probe: Figure
    oracle: Figure
    kept_bytes: Figure
    seconds: Figure
    peak_bytes: Figure
    mixed: str = ""


def rows(results: Sequence[Result]) -> list[Row]:
    """One row for each method, protocol and configuration, in order of arrival."""
    found = []
    for protocol in dict.fromkeys(result.protocol for result in results):
        mine = [result for result in results if result.protocol == protocol]
        found += [_row(group, setting) for (_, setting), group in by_setting(mine).items()]
    return found


def _row(group: Sequence[Result], setting: str) -> Row:
    def over(value: Callable[[Result], float | None]) -> Figure:
        return figure([value(result) for result in group])

    return Row(
        group[0].method,
        group[0].protocol,
        setting,
        tuple(result.seed for result in group),
        any(len(set(one.test_images)) > 1 for one in group),
        over(lambda one: one.last_acc),
        over(lambda one: one.task_mean if len(one.test_images) > 1 else None),
        over(lambda one: one.inc_acc),
        over(lambda one: one.forgetting),
        over(lambda one: one.backward_transfer),
        over(lambda one: _mean(one.calibration_error) if one.is_by_rule("calibration_error") else None),
        over(lambda one: _mean(one.novelty_auroc) if one.is_by_rule("novelty_auroc") else None),
        over(lambda one: one.probe[-1] if one.probe else None),
        over(lambda one: one.oracle[-1] if one.oracle else None),
        over(_remembered),
        over(lambda one: one.method_seconds),
        over(lambda one: float(one.method_peak_bytes)),
        _mixed(group),
    )


def _remembered(result: Result) -> float:
    """Bytes: what the method keeps, and class statistics where its answers come from them, or nobody knows it now."""
    try:
        reads = method_named(result.method).reads_statistics
    except UnknownMethod:
        reads = True
    return float(result.kept_bytes + (result.statistics_bytes if reads else 0))


def figure(values: Sequence[float | None]) -> Figure:
    """Mean and deviation of what is there, one value a seed."""
    there = [value for value in values if value is not None]
    mean = float(np.mean(there)) if there else None
    deviation = float(np.std(there, ddof=1)) if len(there) > 1 else None
    return Figure(mean, deviation, len(there), len(values))


def figures_by_task(group: Sequence[Result], values: Callable[[AccuracyMatrix], Floats]) -> list[Figure]:
    """Mean and deviation of each task's value, over the seeds of one row, in order of learning."""
    return [figure(one) for one in zip_longest(*(values(result.accuracies).tolist() for result in group))]


def _mixed(group: Sequence[Result]) -> str:
    """Older lines do not name their code, so that they may be of several."""
    codes, torches = ({one.versions.get(name) for one in group} for name in ("code", "torch"))
    told = []
    if len(codes) > 1:
        told.append(f"{'at least ' if None in codes else ''}{len(codes)} versions of the code")
    if len(torches) > 1:
        told.append(f"torch {' and '.join(sorted(one or 'of no said version' for one in torches))}")
    return " and ".join(told)


def _mean(values: Sequence[float | None]) -> float | None:
    return figure(values).mean
