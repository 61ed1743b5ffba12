"""Results as CSV, one line a run, and as tables: one row a method, or, under several settings, one row a setting."""

import csv
import io
from collections.abc import Sequence

from everclass.bench.report.figures import Row, figures_by_task
from everclass.bench.report.settings import by_name, setting_of_each
from everclass.bench.results import Result

Cells = Sequence[Sequence[str]]
"""A table; its first line names the columns."""

TASK_MEAN = "Last-Acc (task-weighted)"
"""What prompt papers report as Last-Acc."""

COLUMNS = (
    ("method", lambda row: row.method),
    ("setting", lambda row: row.setting),
    ("Last-Acc", lambda row: row.last_acc.text()),
    (TASK_MEAN, lambda row: row.task_mean.text()),
    ("Inc-Acc", lambda row: row.inc_acc.text()),
    ("forgetting", lambda row: row.forgetting.text()),
    ("backward transfer", lambda row: row.backward_transfer.text()),
    ("calibration error (mean over tasks)", lambda row: row.calibration_error.text()),
    ("AUROC of unknown (mean over tasks)", lambda row: row.novelty_auroc.text()),
    ("probe (after the last task)", lambda row: row.probe.text()),
    ("oracle (after the last task)", lambda row: row.oracle.text()),
    ("remembers", lambda row: row.kept_bytes.text(1 / 2**20, unit=" MiB")),
    ("time", lambda row: row.seconds.text(1, 0, " s")),
    ("peak memory", lambda row: row.peak_bytes.text(1 / 2**30, 2, " GiB")),
    ("seeds", lambda row: ", ".join(map(str, row.seeds))),
)
"""What a row shows; behind its seeds comes the mark of a note."""

BY_TASK = (
    ("Last-Acc after each task", lambda matrix: matrix.overall_T),
    ("Inc-Acc up to each task", lambda matrix: matrix.incremental_T),
    ("forgetting of each task", lambda matrix: matrix.forgetting_T),
    ("backward transfer to each task", lambda matrix: matrix.backward_transfer_T),
)
"""What there is a value of for each task, in order of learning; the last two have none of the last task."""

LEGEND = (
    "Means ± sample deviations over seeds, in percent where no unit is said. Last-Acc, forgetting, backward transfer, "
    "probe and oracle are what holds after the last task; Inc-Acc, calibration error and AUROC are means over tasks. "
    "(1 of 3) says that only so many of the row's seeds have the figure. Calibration errors and AUROC are left out "
    "where they are of temperatures or of a rule for unknown images that were made otherwise than today. What a method "
    "remembers is what its parts keep from task to task, and class statistics where its answers come from them: "
    "network and head are not counted."
)
"""What a reader of a table must know."""


def full(table: Sequence[Row]) -> Cells:
    """All figures of one protocol's rows; settings only where there are several, and both accuracies after the last
    task only where tasks differ in size.
    """
    left_out = {
        name
        for name, told in (("setting", [row.setting for row in table]), (TASK_MEAN, [row.uneven for row in table]))
        if not any(told)
    }
    shown = [(name, cell) for name, cell in COLUMNS if name not in left_out]
    marks = _marks(table)
    cells = [[cell(row) for _, cell in shown] for row in table]
    return [
        [name for name, _ in shown],
        *([*row, f"{seeds}{marks[one.mixed]}"] for one, (*row, seeds) in zip(table, cells, strict=True)),
    ]


def notes(table: Sequence[Row]) -> list[str]:
    """What stands below the table of one protocol's rows: what a marked row's lines differ in beside their seeds."""
    return [f"{mark.strip()} Of {mixed}." for mixed, mark in _marks(table).items() if mixed]


def _marks(table: Sequence[Row]) -> dict[str, str]:
    mixed = dict.fromkeys(row.mixed for row in table if row.mixed)
    return {"": "", **{text: f" [{number}]" for number, text in enumerate(mixed, start=1)}}


def side_by_side(table: Sequence[Row]) -> Cells:
    """Last-Acc / Inc-Acc of one protocol's rows, settings down, methods across; empty where there is one setting."""
    settings = list(dict.fromkeys(row.setting for row in table))
    methods = list(dict.fromkeys(row.method for row in table))
    found = {(row.setting, row.method): f"{row.last_acc.text()} / {row.inc_acc.text()}" for row in table}
    if len(settings) < 2:
        return []
    return [
        ["setting", *methods],
        *([setting, *(found.get((setting, one), "") for one in methods)] for setting in settings),
    ]


def by_task(results: Sequence[Result]) -> dict[str, Cells]:
    """Tables of `BY_TASK` by title, of one protocol's runs: methods down, tasks across; without those that learned all
    as one task.
    """
    groups = {name: runs for name, runs in by_name(results).items() if any(len(run.matrix) > 1 for run in runs)}
    found: dict[str, Cells] = {}
    for title, values in BY_TASK if groups else ():
        figures = {name: figures_by_task(runs, values) for name, runs in groups.items()}
        tasks = range(max(map(len, figures.values())))
        found[title] = [
            ["method", *(f"task {task + 1}" for task in tasks)],
            *(
                [name, *(row[task].text() if task < len(row) else "" for task in tasks)]
                for name, row in figures.items()
            ),
        ]
    return found


def as_csv(results: Sequence[Result]) -> str:
    """One line for each run, rates in 0–1; of the matrix a row after each `;`, one for each task learned. What ends in
    `_by_task` is made of the matrix, and has no value of the last task.
    """
    plain = ("method", "protocol", "seed", "last_acc", "inc_acc", "task_mean", "forgetting", "backward_transfer")
    sizes = ("kept_bytes", "statistics_bytes")
    curves = ("curve", "calibration_error", "novelty_auroc", "probe", "oracle")
    phases = sorted({phase for result in results for phase in result.seconds})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            *plain,
            "setting",
            *sizes,
            *curves,
            "matrix",
            "forgetting_by_task",
            "backward_transfer_by_task",
            *(f"{phase}_s" for phase in phases),
            *(f"{phase}_peak_bytes" for phase in phases),
        ]
    )
    for result, setting in zip(results, setting_of_each(results), strict=True):
        writer.writerow(
            [
                *(getattr(result, name) for name in plain),
                setting,
                *(getattr(result, name) for name in sizes),
                *(_curve(getattr(result, name)) for name in curves),
                "; ".join(map(_curve, result.matrix)),
                _curve(result.accuracies.forgetting_T.tolist()),
                _curve(result.accuracies.backward_transfer_T.tolist()),
                *(result.seconds.get(phase) for phase in phases),
                *(result.peak_bytes.get(phase) for phase in phases),
            ]
        )
    return out.getvalue()


def _curve(values: Sequence[float | None]) -> str:
    return " ".join("-" if value is None else f"{value:.4f}" for value in values)


def as_markdown(table: Sequence[Row], command: str) -> str:
    """The legend, and a table with its notes for each protocol."""
    lines = [f"    {command}", "", LEGEND, ""]
    for protocol in dict.fromkeys(row.protocol for row in table):
        mine = [row for row in table if row.protocol == protocol]
        lines += [f"## {protocol}", "", *_lines(full(mine)), ""]
        for note in notes(mine):
            lines += [note, ""]
        if beside := side_by_side(mine):
            lines += ["Last-Acc / Inc-Acc, side by side:", "", *_lines(beside), ""]
    return "\n".join(lines)


def _lines(cells: Cells) -> list[str]:
    head, *rest = cells
    return [_line(head), _line(["---"] * len(head)), *map(_line, rest)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
