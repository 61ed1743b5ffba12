"""The plots of a report, as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from everclass.bench.report.settings import by_setting
from everclass.bench.results import Result

matplotlib.use("Agg")

Groups = Mapping[str, Sequence[Result]]
"""Runs that differ only in their seeds, by what they are called."""

DPI = 110
MOST_HEAT_MAPS = 40
"""Methods beyond this many get no heat map of their own; their matrices stand in the results."""

MEASURE_STYLES = {"probe": "dashed", "oracle": "dotted"}
"""How the lines of measures are drawn beside a method's own, in its colour."""


def draw_all(results: Sequence[Result], folder: Path) -> dict[str, Path]:
    """Every plot by its title: accuracy over tasks, forgetting, time and memory, one matrix a method."""
    folder.mkdir(parents=True, exist_ok=True)
    plots: dict[str, Path] = {}
    for protocol in dict.fromkeys(result.protocol for result in results):
        groups = _groups([result for result in results if result.protocol == protocol])
        for title, draw in (
            ("accuracy over tasks", _curves),
            ("forgetting", _forgetting),
            ("seconds by phase", _seconds),
            ("peak memory by phase", _memory),
        ):
            plots[f"{protocol}: {title}"] = _saved(draw(groups, f"{protocol}: {title}"), folder, protocol, title)
        for name in list(groups)[:MOST_HEAT_MAPS]:
            title = f"accuracy matrix of {name}"
            figure = _matrix(groups[name], f"{protocol}: {title}")
            plots[f"{protocol}: {title}"] = _saved(figure, folder, protocol, title)
    return plots


def _groups(results: Sequence[Result]) -> Groups:
    return {
        f"{method} ({setting})" if setting else method: one for (method, setting), one in by_setting(results).items()
    }


def _curves(groups: Groups, title: str) -> Figure:
    figure, axes = _new(title, 8.5, 5)
    for number, (name, group) in enumerate(groups.items()):
        longest = max(len(result.curve) for result in group)
        if longest == 1:
            _level(axes, name, group, f"C{number}")
            continue
        curves = np.array([result.curve for result in group if len(result.curve) == longest])
        tasks, mean = np.arange(1, longest + 1), 100 * curves.mean(axis=0)
        (line,) = axes.plot(tasks, mean, marker="o", markersize=3, color=f"C{number}", label=name)
        if len(curves) > 1:
            spread = 100 * curves.std(axis=0, ddof=1)
            axes.fill_between(tasks, mean - spread, mean + spread, color=line.get_color(), alpha=0.15)
        for measure, style in MEASURE_STYLES.items():
            measured = [getattr(result, measure) for result in group]
            there = [values for values in measured if len(values) == longest and None not in values]
            if there:
                label, level = f"{name}: {measure}", 100 * np.mean(there, axis=0)
                axes.plot(tasks, level, linestyle=style, linewidth=1, color=line.get_color(), label=label)
    axes.set(xlabel="tasks learned", ylabel="accuracy over all classes seen, %")
    axes.legend(fontsize=7, bbox_to_anchor=(1.01, 1), loc="upper left")
    return figure


def _level(axes: Any, name: str, group: Sequence[Result], color: str) -> None:
    """Who learned all tasks as one has no way over them: a line across."""
    last = [100 * result.curve[-1] for result in group]
    axes.axhline(float(np.mean(last)), linestyle="dashed", color=color, label=name)
    if len(last) > 1:
        spread = float(np.std(last, ddof=1))
        axes.axhspan(np.mean(last) - spread, np.mean(last) + spread, color=color, alpha=0.15, linewidth=0)
    for measure, style in MEASURE_STYLES.items():
        there = [values[-1] for result in group if (values := getattr(result, measure)) and values[-1] is not None]
        if there:
            axes.axhline(100 * np.mean(there), linestyle=style, linewidth=1, color=color, label=f"{name}: {measure}")


def _forgetting(groups: Groups, title: str) -> Figure:
    figure, axes = _new(title, 8, 0.32 * len(groups) + 1.5)
    found = {
        name: [100 * one.forgetting for one in group if one.forgetting is not None] for name, group in groups.items()
    }
    names = [name for name, values in found.items() if values]
    axes.barh(names, [float(np.mean(found[name])) for name in names], color="#c0504d")
    axes.set(xlabel="forgetting, points")
    axes.invert_yaxis()
    return figure


def _seconds(groups: Groups, title: str) -> Figure:
    return _stacked(
        {name: _mean_by_phase([one.seconds for one in group]) for name, group in groups.items()},
        title,
        "seconds",
        1.0,
    )


def _memory(groups: Groups, title: str) -> Figure:
    """A mark for each phase: peaks do not add up."""
    peaks = {name: _mean_by_phase([one.peak_bytes for one in group]) for name, group in groups.items()}
    figure, axes = _new(title, 8, 0.32 * len(peaks) + 1.5)
    for phase in dict.fromkeys(phase for phases in peaks.values() for phase in phases):
        values = [phases.get(phase, np.nan) / 2**30 for phases in peaks.values()]
        axes.plot(values, list(peaks), "o", markersize=5, label=phase)
    axes.set(xlabel="GiB")
    axes.invert_yaxis()
    axes.legend(fontsize=7)
    return figure


def _stacked(groups: dict[str, dict[str, float]], title: str, unit: str, scale: float) -> Figure:
    figure, axes = _new(title, 8, 0.32 * len(groups) + 1.5)
    left = np.zeros(len(groups))
    for phase in dict.fromkeys(phase for phases in groups.values() for phase in phases):
        values = np.array([scale * phases.get(phase, 0.0) for phases in groups.values()])
        axes.barh(list(groups), values, left=left, label=phase)
        left += values
    axes.set(xlabel=unit)
    axes.invert_yaxis()
    axes.legend(fontsize=7)
    return figure


def _mean_by_phase(values: Sequence[Any]) -> dict[str, float]:
    phases = dict.fromkeys(phase for one in values for phase in one)
    return {phase: float(np.mean([one.get(phase, 0) for one in values])) for phase in phases}


def _matrix(group: Sequence[Result], title: str) -> Figure:
    count = len(group[0].matrix)
    accuracy_TT = np.full((count, count), np.nan)
    for k in range(count):
        accuracy_TT[k, : k + 1] = 100 * np.mean([one.matrix[k] for one in group if len(one.matrix) == count], axis=0)
    figure, axes = _new(title, 0.5 * count + 2.5, 0.42 * count + 1.8)
    image = axes.imshow(accuracy_TT, vmin=0, vmax=100, cmap="viridis")
    for k in range(count):
        for j in range(k + 1):
            dark = accuracy_TT[k, j] < 60
            axes.text(
                j, k, f"{accuracy_TT[k, j]:.0f}", ha="center", va="center", fontsize=7, color="w" if dark else "k"
            )
    axes.set(xlabel="classes of task", ylabel="after task")
    axes.set_xticks(range(count), [str(j + 1) for j in range(count)])
    axes.set_yticks(range(count), [str(k + 1) for k in range(count)])
    figure.colorbar(image, label="accuracy, %")
    return figure


def _new(title: str, width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=9)
    return figure, axes


def _saved(figure: Figure, folder: Path, protocol: str, title: str) -> Path:
    name = "".join(letter if letter.isalnum() or letter in "+-" else "-" for letter in f"{protocol}-{title}")
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=DPI)
    return path
