"""`python -m benchmarks.accuracy.left_out --features FOLDER`: how strongly a drift map should hold on to the identity.

For each task that `benchmarks.accuracy --features FOLDER` kept, and each of its classes: the map is fitted on the other
classes' training images and judged on this one, as the remaining part of its mean's squared movement (1 = as if nothing
had been carried). No test image is read. Heads with carried statistics are then judged, once, on the test features.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.protocol import CLASSES, class_order
from model import paper
from model.aligners import GaussianAligner
from model.backbones.seen import PairedFeatures, Seen
from model.backbones.spec import BackboneSpec
from model.block import lay_out
from model.heads.closed_form import linear_discriminant
from model.heads.head import Head
from model.learning import final
from model.method import AlignmentTask, Apart, Method
from model.methods import METHODS
from model.snapshot import Snapshot
from model.statistics.drift import RidgeDrift, RidgeMap
from model.tuners import FullTuner

STRENGTHS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)

Kept = dict[str, NDArray[np.float32]]


def remaining_movement(
    old_ND: NDArray[np.float32], new_ND: NDArray[np.float32], classes: int, strength: float
) -> float:
    """What is left of the squared movement of class means when each is carried by the other classes' map."""
    columns_N = np.repeat(np.arange(classes), len(old_ND) // classes)
    left = moved = 0.0
    for one in range(classes):
        mine_N = columns_N == one
        matrix_DD = RidgeMap.fit(old_ND[~mine_N], new_ND[~mine_N], strength).matrix_DD
        left += float((((old_ND[mine_N] @ matrix_DD) - new_ND[mine_N]).mean(axis=0) ** 2).sum())
        moved += float(((old_ND[mine_N] - new_ND[mine_N]).mean(axis=0) ** 2).sum())
    return left / moved


def judged(folder: Path, seed: int, method: Method) -> tuple[list[float], list[float], list[float]]:
    """Accuracy after each task: alignment from the un-aligned head, from the discriminant, and the discriminant."""
    warm = GaussianAligner(on_first_task=True, start="discriminant")
    tasks = list(_tasks(folder, seed))
    order = np.split(class_order(seed), len(tasks))
    dimension = tasks[0]["old_ND"].shape[1]
    version = Snapshot.root(BackboneSpec("kept", 1, (0.5,) * 3, (0.5,) * 3), {}, dimension, "slca")
    aligned: list[float] = []
    warmed: list[float] = []
    discriminant: list[float] = []
    for number, (classes, kept) in enumerate(zip(order, tasks, strict=True)):
        each = len(kept["old_ND"]) // len(classes)
        block = lay_out(version, [str(one) for one in np.repeat(classes, each)])
        head = Head(kept["weight_CD"][-len(classes) :], kept["bias_C"][-len(classes) :])
        pair = PairedFeatures(Seen(kept["old_ND"]), Seen(kept["new_ND"]))
        version = final(version, Apart({}), head, pair, block, task=str(number), method=method, seed=seed)
        truth_N = np.repeat(np.arange(version.statistics.class_count), len(kept["test_ND"]) // len(version.classes))
        from_discriminant = warm.align(
            AlignmentTask(
                version.unaligned,
                version.statistics,
                version.blocks_C,
                block.number,
                pair.after.features_ND,
                block.image_columns_N,
                {},
                seed,
            )
        ).head
        made = (version.aligned, from_discriminant, linear_discriminant(version.statistics))
        for heads, one in zip((aligned, warmed, discriminant), made, strict=True):
            heads.append(float((one.logits(kept["test_ND"]).argmax(axis=1) == truth_N).mean()))
    return aligned, warmed, discriminant


def _tasks(folder: Path, seed: int) -> Iterator[Kept]:
    number = 0
    while (path := folder / f"seed{seed}-task{number}.npz").is_file():
        with np.load(path) as arrays:
            yield {name: arrays[name] for name in arrays.files}
        number += 1


def left_out_rows(folder: Path) -> list[str]:
    """A row a seed: the mean over tasks of the remaining movement at each strength."""
    rows = []
    for seed in paper.SEEDS:
        tasks = list(_tasks(folder, seed))
        parts = [
            np.mean([remaining_movement(one["old_ND"], one["new_ND"], CLASSES // len(tasks), s) for one in tasks])
            for s in STRENGTHS
        ]
        rows.append(f"| {seed} | " + " | ".join(f"{part:.2f}" for part in parts) + " |")
    return rows


def judged_rows(folder: Path) -> list[str]:
    """A row a strength: Last / Inc of each head, means of the seeds; first without carrying."""
    methods = {"not carried": METHODS["slca"]}
    methods |= {f"{s:g}": Method(FullTuner(), METHODS["slca"].aligner, RidgeDrift(s)) for s in STRENGTHS}
    rows = []
    for name, method in methods.items():
        runs = [judged(folder, seed, method) for seed in paper.SEEDS]
        cells = [
            f"{100 * np.mean([run[head][-1] for run in runs]):.1f} / {100 * np.mean([run[head] for run in runs]):.1f}"
            for head in range(3)
        ]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return rows


@click.command()
@click.option("--features", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/drift-strength.md"))
def main(features: Path, out: Path) -> None:
    """Left-out classes by strength of the drift map, and the heads that follow."""
    lines = [
        "# How strongly a drift map holds on to the identity",
        "",
        "    python -m benchmarks.accuracy --data … --weights … --features FOLDER",
        "    python -m benchmarks.accuracy.left_out --features FOLDER",
        "",
        "Remaining part of the squared movement of a class's mean, map fitted without that class, mean over tasks;",
        "training images only:",
        "",
        "| seed | " + " | ".join(f"{s:g}" for s in STRENGTHS) + " |",
        "| --- |" + " --- |" * len(STRENGTHS),
        *left_out_rows(features),
        "",
        "Last / Inc in percent on the test features, means of the three seeds:",
        "",
        "| strength | SLCA | aligned from the discriminant | linear discriminant |",
        "| --- | --- | --- | --- |",
        *judged_rows(features),
        "",
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines))
    click.echo("\n".join(lines))


if __name__ == "__main__":
    main()
