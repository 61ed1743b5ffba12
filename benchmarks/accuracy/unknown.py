"""`python -m benchmarks.accuracy.unknown --data FOLDER`: how well known images are told from unknown ones.

On a backbone as pre-trained, with the first 2, 10, 50 and 90 classes of a seed known: AUROC of their validation images
against those of the other classes (which may come), and against pictures of other kinds: PACS, digits, noise, one
colour. The rule is that of a version without held-out images; beside it stand the distance to the nearest class alone
and that relative to one Gaussian of all features (method.md 8.7). FOLDER holds `cifar100` and `pacs`.
"""

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from sklearn.datasets import load_digits

from everclass.bench.prepared import prepare
from everclass.bench.request import BenchRequest
from model.backbones.backbone import build
from model.backbones.features import features_of
from model.heads.head import Head
from model.scores.confidence import SampledFit
from model.scores.novelty import auroc
from model.statistics.class_statistics import ClassStatistics
from model.statistics.shrinkage import oracle_shrunk
from stream.protocols import Examples, class_order, read_dataset

Floats = NDArray[np.float32]
Score = Callable[[Floats], NDArray[np.floating]]

KNOWN = (2, 10, 50, 90)
MADE = 100
"""Pictures of each kind that is made."""


def scores(statistics: ClassStatistics) -> dict[str, Score]:
    """Each way to score features: the higher, the better known."""
    classes, dimension = statistics.class_count, statistics.dimension
    nothing = Head(np.zeros((classes, dimension), np.float32), np.zeros(classes, np.float32))
    within_DD = oracle_shrunk(statistics.pooled_covariance(), statistics.freedom)
    overall_D, overall_DD = _overall(statistics)

    def nearest(features_ND: Floats) -> NDArray[np.floating]:
        distance_CN = np.stack([_squared(features_ND, mean_D, within_DD) for mean_D in statistics.mean_CD])
        return np.asarray(-distance_CN.min(axis=0))

    return {
        "the rule": SampledFit.of(nothing, statistics, seed=0).novelty.scores,
        "nearest class": nearest,
        "relative to all features": lambda features_ND: (
            nearest(features_ND) + _squared(features_ND, overall_D, overall_DD)
        ),
    }


def _overall(statistics: ClassStatistics) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and shrunken covariance of all images together."""
    total = int(statistics.count_C.sum())
    mean_D = statistics.count_C @ statistics.mean_CD.astype(np.float64) / total
    between_CD = (statistics.mean_CD - mean_D) * np.sqrt(statistics.count_C)[:, None]
    scatter_DD = between_CD.T @ between_CD + statistics.freedom * statistics.pooled_covariance()
    return mean_D, oracle_shrunk(scatter_DD / (total - 1), total - 1)


def _squared(features_ND: Floats, mean_D: NDArray[np.floating], covariance_DD: NDArray[np.float64]) -> Floats:
    lower_DD = cholesky(covariance_DD, lower=True)
    return np.asarray((solve_triangular(lower_DD, (features_ND - mean_D).T, lower=True) ** 2).sum(axis=0))


def other_kinds(pacs: Examples, size: int) -> Iterator[tuple[str, Examples]]:
    """Pictures of no class of CIFAR-100, or of nothing at all."""
    rng = np.random.default_rng(0)
    yield "PACS", pacs.of(np.arange(0, len(pacs), 8))
    digits = [(15 * digit).astype(np.uint8) for digit in load_digits().images[:MADE]]
    yield "digits", _of_no_class([np.repeat(digit[:, :, None], 3, axis=2) for digit in digits])
    yield "noise", _of_no_class([rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(MADE)])
    yield "one colour", _of_no_class([np.full((size, size, 3), rng.integers(0, 256, 3), np.uint8) for _ in range(MADE)])


def _of_no_class(pictures: list[NDArray[np.uint8]]) -> Examples:
    none_N = np.full(len(pictures), -1, np.int64)
    return Examples(pictures, none_N, none_N)


def table(
    train: tuple[Floats, NDArray[np.int64]],
    judged: tuple[Floats, NDArray[np.int64]],
    others: Mapping[str, Floats],
    order: NDArray[np.int64],
) -> list[str]:
    """AUROC, a row for each number of known classes and each way."""
    lines = [
        f"| known classes | score | classes to come | {' | '.join(others)} |",
        f"| --- | --- | --- |{' --- |' * len(others)}",
    ]
    for count in KNOWN:
        column = {int(label): place for place, label in enumerate(order[:count])}
        (train_ND, train_N), (judged_ND, judged_N) = train, judged
        mine_N = np.isin(train_N, order[:count])
        columns_N = np.array([column[int(label)] for label in train_N[mine_N]])
        statistics = ClassStatistics.from_features(train_ND[mine_N], columns_N, count)
        known_N = np.isin(judged_N, order[:count])
        for name, score in scores(statistics).items():
            known = score(judged_ND[known_N])
            unknown = {"classes to come": judged_ND[~known_N]} | dict(others)
            told = [f"{100 * auroc(known, score(features_ND)):.1f}" for features_ND in unknown.values()]
            lines.append(f"| {count} | {name} | {' | '.join(told)} |")
    return lines


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--backbone", default="tf_efficientnet_lite0", show_default=True)
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="[the embedded ones]")
@click.option("--image-size", default=64, show_default=True)
@click.option("--train-per-class", default=40, show_default=True)
@click.option("--test-per-class", default=12, show_default=True)
@click.option("--seed", default=1993, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/unknown.md"), show_default=True
)
def main(
    data: Path,
    backbone: str,
    weights: Path | None,
    image_size: int,
    train_per_class: int,
    test_per_class: int,
    seed: int,
    out: Path,
) -> None:
    """AUROC of known images against unknown ones; the table takes the place of that of the same setting in OUT."""
    request = BenchRequest(
        "cifar100",
        data / "cifar100",
        ("ncm",),
        seeds=(seed,),
        backbone=backbone,
        weights=weights,
        train_per_class=train_per_class,
        test_per_class=test_per_class,
        evaluation="validation",
        image_size=image_size,
        recipe="small",
        precision="fp32",
    )
    prepared = prepare(request)
    cifar, plan = prepared.dataset, prepared.training.plan(seed, task=0)
    pacs = read_dataset("pacs", data / "pacs").train
    network = build(prepared.training.spec)
    network.load(prepared.weights)
    found = table(
        (features_of(network, cifar.train, plan), cifar.train.classes_N),
        (features_of(network, cifar.test, plan), cifar.test.classes_N),
        {name: features_of(network, pictures, plan) for name, pictures in other_kinds(pacs, image_size)},
        class_order(seed, len(cifar.classes)),
    )
    command = shlex.join(["python", "-m", "benchmarks.accuracy.unknown", *sys.argv[1:]])
    text = "\n".join([f"## {backbone}, {image_size} pixels, seed {seed}", "", f"    {command}", "", *found, ""])
    before = out.read_text() if out.exists() else "# Known images told from unknown ones: AUROC in percent\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(with_section(before, text))
    click.echo(text)


def with_section(page: str, section: str) -> str:
    """The page with the section in place of those that have its heading, or at its end."""
    first, *others = page.split("\n## ")
    heading = section.removeprefix("## ").partition("\n")[0]
    kept = [one for one in others if one.partition("\n")[0] != heading]
    return "\n## ".join([first, *kept, section.removeprefix("## ")])


if __name__ == "__main__":
    main()
