"""The plots of a report, as PNG files."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image

from everclass.bench.report.settings import by_name
from everclass.bench.results import Result

Groups = Mapping[str, Sequence[Result]]
"""Runs that differ only in their seeds, by what they are called."""

DPI = 110
MARGIN_IN, ROW_IN, CELL_IN = 0.1, 0.2, 0.32
"""Inches around all that is drawn, of a row of bars and of a cell of a matrix."""

COLORS, MARKERS, FACES = 10, "os^DvX*P", ("full", "none")
"""What tells methods apart in plots: 160 of them look different."""

MEASURE_STYLES = {"probe": "dashed", "oracle": "dotted"}
"""How the lines of measures are drawn beside a method's own, in its colour and with its marks."""

LONGEST_NAME, DIGEST = 60, 8
"""Letters of what a file is named after, and those of the digest that stand for what was cut or changed of it."""


@dataclass(frozen=True)
class Plots:
    """The files of one protocol: those of all methods together by title, and the matrices by method."""

    together: Mapping[str, Path]
    matrices: Mapping[str, Path]


def draw_all(results: Sequence[Result], folder: Path) -> dict[str, Plots]:
    """Every plot, by protocol: accuracy over tasks, forgetting, time and memory, and one matrix a method.

    Plots that an earlier report left in the folder, and that are none of these, are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plots: dict[str, Plots] = {}
    for protocol in dict.fromkeys(result.protocol for result in results):
        groups = by_name([result for result in results if result.protocol == protocol])
        together = {
            title: _saved(figure, folder, f"{_named(protocol)}-{_plain(title)}")
            for title, draw in TOGETHER.items()
            if (figure := draw(groups, f"{protocol}: {title}")) is not None
        }
        matrices = {
            name: _saved(
                _matrix(group, f"{protocol}: {MATRIX} {name}"),
                folder,
                f"{_named(protocol)}-{_plain(MATRIX)}-{_named(name)}",
            )
            for name, group in groups.items()
        }
        plots[protocol] = Plots(together, matrices)
    drawn = {path for one in plots.values() for path in (*one.together.values(), *one.matrices.values())}
    for path in _left_in(folder):
        if path not in drawn:
            path.unlink()
    return plots


def _left_in(folder: Path) -> Iterator[Path]:
    """The files that have a name as plots have it; other people's pictures are not touched."""
    for pattern in (*(f"*-{_plain(title)}.png" for title in TOGETHER), f"*-{_plain(MATRIX)}-*.png"):
        yield from folder.glob(pattern)


def _curves(groups: Groups, title: str) -> Figure:
    """A line for each method and each of its measures; the legend goes from the best at the end to the worst."""
    figure, axes = _new(title, 9.5, 5 + 0.03 * len(groups))
    lines: list[tuple[float, list[Line2D]]] = []
    for number, (name, group) in enumerate(groups.items()):
        longest = max(len(result.curve) for result in group)
        curves_ST = 100 * np.array([result.curve for result in group if len(result.curve) == longest])
        mine = [_line(axes, curves_ST, number, label=name, markersize=4.5)]
        for measure, style in MEASURE_STYLES.items():
            measured = [getattr(result, measure) for result in group]
            there = [values for values in measured if len(values) == longest and None not in values]
            if there:
                of = f" ({len(there)} of {len(group)} seeds)" if len(there) < len(group) else ""
                look = {"label": f"{name}: {measure}{of}", "linestyle": style, "linewidth": 1, "markersize": 3}
                mine.append(_line(axes, 100 * np.mean(there, axis=0, keepdims=True), number, **look))
        lines.append((float(curves_ST[:, -1].mean()), mine))
    axes.set(xlabel="tasks learned", ylabel="accuracy over all classes seen, %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend_below(axes, [line for _, mine in sorted(lines, key=lambda one: -one[0]) for line in mine])
    return _fitted(figure)


def _line(axes: Axes, curves_ST: Any, number: int, **look: Any) -> Line2D:
    """The mean over seeds S and a band of their deviation; across all tasks T for who learned them as one."""
    mean_T, tasks = curves_ST.mean(axis=0), len(curves_ST[0])
    spread_T = curves_ST.std(axis=0, ddof=1) if len(curves_ST) > 1 else np.zeros(tasks)
    low_T, high_T, look = mean_T - spread_T, mean_T + spread_T, {"linewidth": 1.3} | look | _look(number)
    band = {"color": look["color"], "alpha": 0.12, "linewidth": 0}
    if tasks == 1:
        if spread_T.any():
            axes.axhspan(low_T[0], high_T[0], **band)
        return axes.axhline(mean_T[0], clip_on=False, **look)
    numbers = np.arange(1, tasks + 1)
    if spread_T.any():
        axes.fill_between(numbers, low_T, high_T, **band)
    (line,) = axes.plot(numbers, mean_T, **look)
    return line


def _look(number: int) -> dict[str, str]:
    return {
        "color": f"C{number % COLORS}",
        "marker": MARKERS[number // COLORS % len(MARKERS)],
        "fillstyle": FACES[number // (COLORS * len(MARKERS)) % len(FACES)],
    }


def _forgetting(groups: Groups, title: str) -> Figure | None:
    """A bar for each method that can forget; none where no method can."""
    found = {name: [one.forgetting for one in group if one.forgetting is not None] for name, group in groups.items()}
    means = {name: 100 * float(np.mean(values)) for name, values in found.items() if values}
    if not means:
        return None
    figure, axes = _rows(title, list(means), "forgetting, points")
    axes.barh(range(len(means)), list(means.values()), color="#c0504d")
    return _fitted(figure)


def _seconds(groups: Groups, title: str) -> Figure:
    seconds = {name: _mean_by_phase([one.seconds for one in group]) for name, group in groups.items()}
    figure, axes = _rows(title, list(seconds), "seconds")
    left = np.zeros(len(seconds))
    for phase in _phases(seconds.values()):
        values = np.array([phases.get(phase, 0.0) for phases in seconds.values()])
        axes.barh(range(len(values)), values, left=left, label=phase)
        left += values
    _legend_beside(axes)
    return _fitted(figure)


def _memory(groups: Groups, title: str) -> Figure:
    """A mark for each phase: peaks do not add up."""
    peaks = {name: _mean_by_phase([one.peak_bytes for one in group]) for name, group in groups.items()}
    figure, axes = _rows(title, list(peaks), "GiB")
    for number, phase in enumerate(_phases(peaks.values())):
        values = [phases.get(phase, np.nan) / 2**30 for phases in peaks.values()]
        mark = MARKERS[number % len(MARKERS)]
        axes.plot(values, range(len(values)), mark, fillstyle="none", markersize=5, label=phase)
    _legend_beside(axes)
    return _fitted(figure)


def _phases(of_each: Iterable[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(phase for phases in of_each for phase in phases))


def _mean_by_phase(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Over the runs that had the phase: one seed may be measured and others not."""
    return {phase: float(np.mean([one[phase] for one in values if phase in one])) for phase in _phases(values)}


def _matrix(group: Sequence[Result], title: str) -> Figure:
    """Row by row what is right of each task's classes after one more task."""
    count = max(len(one.matrix) for one in group)
    accuracy_TT = np.full((count, count), np.nan)
    for k in range(count):
        accuracy_TT[k, : k + 1] = 100 * np.mean([one.matrix[k] for one in group if len(one.matrix) == count], axis=0)
    side = max(CELL_IN * count, 1.5)
    figure, axes = _new(title, side, side)
    image = axes.imshow(accuracy_TT, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    for k in range(count):
        for j in range(k + 1):
            color = "w" if accuracy_TT[k, j] < 60 else "k"
            axes.text(j, k, f"{accuracy_TT[k, j]:.0f}", ha="center", va="center", fontsize=7, color=color)
    axes.set_xlabel("classes of task", fontsize=8)
    axes.set_ylabel("after task", fontsize=8)
    axes.set_xticks(range(count), [str(j + 1) for j in range(count)], fontsize=7)
    axes.set_yticks(range(count), [str(k + 1) for k in range(count)], fontsize=7)
    scale = axes.inset_axes((1 + 0.12 / side, 0, 0.12 / side, 1))
    figure.colorbar(image, cax=scale).set_label("accuracy, %", fontsize=8)
    scale.tick_params(labelsize=7)
    return _fitted(figure)


MATRIX = "accuracy matrix of"
TOGETHER = {
    "accuracy over tasks": _curves,
    "forgetting": _forgetting,
    "seconds by phase": _seconds,
    "peak memory by phase": _memory,
}
"""The plots of all methods together, by title."""


def _new(title: str, width: float, height: float) -> tuple[Figure, Axes]:
    """Axes of so many inches that are all of their figure until `_fitted`."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_title(fill(title, max(30, round(13 * width))), fontsize=9)
    return figure, axes


def _rows(title: str, names: Sequence[str], label: str) -> tuple[Figure, Axes]:
    """Axes with a row for each name, the first on top, and a scale at both ends."""
    figure, axes = _new(title, 7, ROW_IN * max(len(names), 4))
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(label)
    axes.tick_params(axis="x", top=True, labeltop=True)
    axes.grid(axis="x", color="#ddd", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _legend_beside(axes: Axes) -> None:
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)


def _legend_below(axes: Axes, lines: Sequence[Line2D]) -> None:
    """In as many columns as the axes have room for."""
    space = axes.get_window_extent()
    below = (0, -0.6 * DPI / space.height)
    legend = partial(axes.legend, handles=lines, fontsize=8, loc="upper left", bbox_to_anchor=below, borderaxespad=0)
    columns = 1
    while columns < len(lines) and legend(ncols=columns + 1).get_window_extent().width <= space.width:
        columns += 1
    legend(ncols=columns)


def _fitted(figure: Figure) -> Figure:
    """The figure at the size that its axes need with all that stands around them: the axes keep theirs."""
    (axes,) = figure.axes
    inside = axes.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
    around = figure.get_tightbbox().padded(MARGIN_IN)
    figure.set_size_inches(around.width, around.height)
    left, bottom = (inside.x0 - around.x0) / around.width, (inside.y0 - around.y0) / around.height
    axes.set_position((left, bottom, inside.width / around.width, inside.height / around.height))
    return figure


def _saved(figure: Figure, folder: Path, name: str) -> Path:
    path = folder / f"{name}.png"
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    # A palette makes the file a third as large, and the page holds all of them.
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def _named(after: str) -> str:
    """A part of a file's name that is this one's alone: a setting may be longer than a name may be, and others may
    differ from it in letters that files cannot have.
    """
    plain = _plain(after)
    if plain == after and len(after) <= LONGEST_NAME:
        return plain
    return f"{plain[:LONGEST_NAME]}-{hashlib.sha256(after.encode()).hexdigest()[:DIGEST]}"


def _plain(name: str) -> str:
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "+-_") else "-" for letter in name)
