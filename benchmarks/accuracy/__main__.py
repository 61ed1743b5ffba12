"""`python -m benchmarks.accuracy --data FOLDER --weights FILE [--seeds 3] [--tasks 10]`."""

import shlex
import sys
from pathlib import Path

import click

from benchmarks.accuracy.protocol import read_cifar100
from benchmarks.accuracy.report import add
from benchmarks.accuracy.run import Recipe, SeedRun
from model import paper
from model.backbones.backbone import Precision
from model.backbones.pretrained import load_pretrained
from model.backbones.spec import BackboneSpec
from model.training.tuning import TuningPlan

HALF = (0.5, 0.5, 0.5)


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
def main(
    data: Path,
    weights: Path,
    seeds: int,
    seed: tuple[int, ...],
    tasks: int,
    train_per_class: int,
    test_per_class: int,
    epochs: int,
    image_size: int,
    backbone: str,
    precision: Precision,
    threads: int,
    features: Path | None,
    out: Path,
) -> None:
    """Split CIFAR-100 at the small size: SLCA, its slow learner alone, and heads in closed form from one run."""
    spec = BackboneSpec(backbone, image_size, HALF, HALF)
    plan = TuningPlan(
        epochs=epochs,
        batch_size=32,
        micro_batch=32,
        milestones=(epochs - 1,),
        precision=precision,
        augmentation="crop_flip",
        threads=threads,
    )
    protocol = read_cifar100(data, train_per_class=train_per_class, test_per_class=test_per_class, tasks=tasks)
    recipe = Recipe(spec, load_pretrained(spec, weights), plan, tasks, len(protocol.train), len(protocol.test))
    command = shlex.join(["python", "-m", "benchmarks.accuracy", *sys.argv[1:]])
    for one in seed or paper.SEEDS[:seeds]:
        add(SeedRun(protocol, recipe, one, click.echo, features).run(), one, recipe, command, out)
    click.echo(out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
