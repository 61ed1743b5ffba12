"""Results as CSV, one line a run, and as a Markdown table, one row a method."""

import csv
import io
from collections.abc import Sequence

from everclass.bench.report.figures import Row
from everclass.bench.results import Result

COLUMNS = (
    ("method", lambda row: row.method),
    ("Last-Acc", lambda row: row.last_acc.text()),
    ("Inc-Acc", lambda row: row.inc_acc.text()),
    ("forgetting", lambda row: row.forgetting.text()),
    ("backward transfer", lambda row: row.backward_transfer.text()),
    ("calibration error", lambda row: row.calibration_error.text()),
    ("AUROC of unknown", lambda row: row.novelty_auroc.text()),
    ("probe", lambda row: row.probe.text()),
    ("oracle", lambda row: row.oracle.text()),
    ("remembers", lambda row: row.kept_bytes.text(1 / 2**20) + " MiB"),
    ("time", lambda row: row.seconds.text(1, 0) + " s"),
    ("peak memory", lambda row: row.peak_bytes.text(1 / 2**30, 2) + " GiB"),
    ("seeds", lambda row: ", ".join(map(str, row.seeds))),
)
"""What a row shows, in percent unless it says otherwise."""


def as_csv(results: Sequence[Result]) -> str:
    """One line for each run, rates in 0–1."""
    plain = ("method", "protocol", "seed", "last_acc", "inc_acc", "task_mean", "forgetting", "backward_transfer")
    phases = sorted({phase for result in results for phase in result.seconds})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            *plain,
            "curve",
            "probe",
            "oracle",
            *(f"{phase}_s" for phase in phases),
            *(f"{phase}_peak_bytes" for phase in phases),
        ]
    )
    for result in results:
        writer.writerow(
            [
                *(getattr(result, name) for name in plain),
                *(_curve(values) for values in (result.curve, result.probe, result.oracle)),
                *(result.seconds.get(phase) for phase in phases),
                *(result.peak_bytes.get(phase) for phase in phases),
            ]
        )
    return out.getvalue()


def _curve(values: Sequence[float | None]) -> str:
    return " ".join("-" if value is None else f"{value:.4f}" for value in values)


def as_markdown(table: Sequence[Row], command: str) -> str:
    """A table for each protocol; means ± deviations over seeds, accuracies in percent."""
    lines = [f"    {command}", ""]
    for protocol in dict.fromkeys(row.protocol for row in table):
        lines += [f"## {protocol}", "", _line([name for name, _ in COLUMNS]), _line(["---"] * len(COLUMNS))]
        lines += [_line([cell(row) for _, cell in COLUMNS]) for row in table if row.protocol == protocol]
        lines.append("")
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
