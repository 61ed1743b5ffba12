"""`python -m benchmarks.accuracy.left_out --features FOLDER`: how strongly a drift map should hold on to the identity.

For each task that `benchmarks.accuracy --features FOLDER` kept, and each of its classes: the map is fitted on the other
classes' training images and judged on this one, as the remaining part of its mean's squared movement (1 = as if nothing
had been carried). No test image is read. Heads with carried statistics are then judged, once, on the test features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import numpy as np

from benchmarks.accuracy.experiments import Setting
from benchmarks.accuracy.heads import cell
from everclass.bench.kept_features import Kept, Run, of_one_length, runs
from model.aligners import ClosedFormAligner, GaussianAligner
from model.statistics.drift import RidgeDrift, left_out_errors

STRENGTHS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)

HEADS: Mapping[str, Setting] = {
    "SLCA": Setting(),
    "aligned from the discriminant": Setting(GaussianAligner(on_first_task=True, start="discriminant")),
    "linear discriminant": Setting(ClosedFormAligner("lda")),
}

DRIFTS: Mapping[str, RidgeDrift | None] = {"not carried": None} | {f"{one:g}": RidgeDrift(one) for one in STRENGTHS}


def remaining_movement(kept: Kept) -> list[float]:
    """What is left of the squared movement of class means when each is carried by the other classes' map, for each of
    `STRENGTHS`; classes beyond ten are left out several at a time.
    """
    old_ND, new_ND, columns_N = kept["old_ND"], kept["new_ND"], kept["columns_N"]
    moved_CD = [(new_ND - old_ND)[columns_N == column].mean(axis=0) for column in np.unique(columns_N)]
    errors = left_out_errors(old_ND, new_ND, columns_N, STRENGTHS)
    return [float(error**2 / np.square(moved_CD).mean()) for error in errors]


def left_out_rows(found: Sequence[Run]) -> list[str]:
    """A row a seed: the mean over tasks of the remaining movement at each strength."""
    rows = []
    for run in found:
        parts = np.mean([remaining_movement(kept) for kept in run.tasks], axis=0)
        rows.append(_row(str(run.seed), [f"{part:.2f}" for part in parts]))
    return rows


def judged_rows(found: Sequence[Run]) -> list[str]:
    """A row a strength: Last / Inc of each head, means of the seeds; first without carrying."""
    return [
        _row(name, [cell(found, replace(setting, drift=drift)) for setting in HEADS.values()])
        for name, drift in DRIFTS.items()
    ]


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


@click.command()
@click.option("--features", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/drift-strength.md"))
def main(features: Path, out: Path) -> None:
    """Left-out classes by strength of the drift map, and the heads that follow."""
    found = list(of_one_length(runs(features), partial(click.echo, err=True)))
    lines = [
        "# How strongly a drift map holds on to the identity",
        "",
        "    python -m benchmarks.accuracy --data … --weights … --features FOLDER",
        "    python -m benchmarks.accuracy.left_out --features FOLDER",
        "",
        "Remaining part of the squared movement of a class's mean, map fitted without that class, mean over tasks;",
        "training images only:",
        "",
        _row("seed", [f"{s:g}" for s in STRENGTHS]),
        "| --- |" + " --- |" * len(STRENGTHS),
        *left_out_rows(found),
        "",
        "Last / Inc in percent on the test features, means of the three seeds:",
        "",
        _row("strength", list(HEADS)),
        "| --- |" + " --- |" * len(HEADS),
        *judged_rows(found),
        "",
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines))
    click.echo("\n".join(lines))


if __name__ == "__main__":
    main()
