"""`python -m benchmarks.accuracy --data FOLDER --weights FILE [--seeds 3] [--tasks 10]`."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from benchmarks.accuracy.report import add, check_recipe
from benchmarks.accuracy.run import HEADS, learned
from everclass.bench.kept_features import check_folder
from everclass.bench.prepared import prepare
from everclass.bench.request import BenchRequest
from model import paper


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--seeds", default=3, show_default=True, help="How many of the paper's seeds 1993, 1996, 1997.")
@click.option("--seed", type=int, multiple=True, help="This one instead, beside those in OUT already.")
@click.option("--tasks", default=10, show_default=True)
@click.option("--train-per-class", default=50, show_default=True)
@click.option("--test-per-class", default=50, show_default=True)
@click.option("--epochs", default=4, show_default=True)
@click.option("--image-size", default=112, show_default=True)
@click.option("--backbone", default="vit_tiny_patch16_224", show_default=True)
@click.option("--precision", type=click.Choice(["bf16", "fp32"]), default="bf16", show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--features", type=click.Path(path_type=Path), help="Keep every task's features in this folder.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/accuracy-small"))
def main(seeds: int, seed: tuple[int, ...], epochs: int, features: Path | None, out: Path, **options: Any) -> None:
    """Split CIFAR-100 at the small size: SLCA, its slow learner alone, and heads in closed form from one run."""
    request = BenchRequest(
        "cifar100",
        methods=tuple(HEADS.values()),
        seeds=seed or paper.SEEDS[:seeds],
        epochs=epochs,
        milestones=(epochs - 1,),
        recipe="small",
        device="cpu",
        **options,
    )
    prepared = prepare(request)
    try:
        check_recipe(prepared.courses[0], prepared, out)
        if features is not None:
            check_folder(features, prepared.of_features)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    command = shlex.join(["python", "-m", "benchmarks.accuracy", *sys.argv[1:]])
    for course in prepared.courses:
        add(learned(prepared, course, features), course, prepared, command, out)
    click.echo(out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
