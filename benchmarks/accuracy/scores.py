"""`python -m benchmarks.accuracy.scores --features FOLDER`: how sure a head is, by how its logits are scaled.

Method.md 7, 9: alignment divides logits by n̄·τ. Served so as well, no decision changes, but every image gets a scale
of its own. Each way of scoring is judged on the images that the features were kept for, as the mean over tasks: as it
is, at temperatures that a server without held-out images can fit, and at the one that would have been best. What is
fitted on samples around drawn-in means stands there beside what the server does (decision 0022).
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.experiments import Setting, ours, paper
from benchmarks.accuracy.heads import Reached, cut_to, reached
from everclass.bench.kept_features import Run, of_one_length, runs
from model import paper as constants
from model.aligners import ClosedFormAligner
from model.heads.alignment import block_norms
from model.scores.calibration import expected_calibration_error, fit_temperature, negative_log_likelihood, softmax
from model.scores.confidence import SAMPLES_ARE_EASIER, SampledFit
from model.scores.novelty import KNOWN_RATE, SAMPLES, fit_novelty
from model.statistics.class_statistics import ClassStatistics
from model.statistics.drift import RidgeDrift
from model.statistics.predictive import sample_new_images
from model.statistics.shrinkage import shared_covariance

Floats = NDArray[np.float32]

SETTINGS: Mapping[str, Setting] = {
    "slow learner": Setting(None),
    "SLCA": paper(),
    "ours": ours(),
    "linear discriminant, carried": Setting(ClosedFormAligner("lda"), RidgeDrift()),
    "nearest mean, carried": Setting(ClosedFormAligner("nearest_mean"), RidgeDrift()),
}

DRAWN_IN_ARE_EASIER = 1.6
"""What `SAMPLES_ARE_EASIER` is for samples around drawn-in means: right for 10 to 50 images a class of 192 and 384
numbers on validation images of Split CIFAR-100, seed 1993 (`benchmarks/results/scores-by-images.md`).
"""


@dataclass(frozen=True)
class Judgement:
    """On test images: temperature, how many times it the best one is, expected calibration error and mean negative
    log-likelihood (nats).
    """

    temperature: float
    best_is_times: float
    calibration_error: float
    likelihood: float

    @classmethod
    def of(cls, logits_NC: Floats, columns_N: NDArray[np.int64], temperature: float, best: float) -> "Judgement":
        """At this temperature, where `best` would have been."""
        error = expected_calibration_error(softmax(logits_NC / temperature), columns_N)
        assert error is not None
        likelihood = negative_log_likelihood(logits_NC, columns_N, temperature)
        return cls(temperature, best / temperature, error, likelihood)


def judgements(after: Reached, seed: int) -> Iterator[tuple[str, Judgement]]:
    """Each way of scoring by name."""
    truth_N, statistics = after.test_columns_N, after.statistics
    images = int(statistics.count_C.sum())

    def fitted(features_ND: Floats, columns_N: NDArray[np.int64]) -> float:
        return fit_temperature(after.head.logits(features_ND), columns_N, images)

    gaussians = fitted(*statistics.sample(SAMPLES, np.random.default_rng(seed), constants.RIDGE))
    wider = fitted(*sample_new_images(statistics, SAMPLES, np.random.default_rng(seed)))
    nearer = fitted(*sample_new_images(drawn_in(statistics), SAMPLES, np.random.default_rng(seed)))
    plain_NC, normalised_NC = (_scores(after, after.test_ND, normalised) for normalised in (False, True))
    best = fit_temperature(plain_NC, truth_N)
    for name, temperature in (
        ("as they are", 1.0),
        ("fitted on samples of the Gaussians", gaussians),
        ("fitted on samples of new images", wider),
        (f"that times {SAMPLES_ARE_EASIER}", wider * SAMPLES_ARE_EASIER),
        ("fitted on samples around drawn-in means", nearer),
        (f"that times {DRAWN_IN_ARE_EASIER}", nearer * DRAWN_IN_ARE_EASIER),
        ("best on the test images", best),
    ):
        yield name, Judgement.of(plain_NC, truth_N, temperature, best)
    best = fit_temperature(normalised_NC, truth_N)
    yield "over n̄·τ", Judgement.of(normalised_NC, truth_N, 1.0, best)
    yield "over n̄·τ, best on the test images", Judgement.of(normalised_NC, truth_N, best, best)


def drawn_in(statistics: ClassStatistics) -> ClassStatistics:
    """The statistics with class means nearer to the mean of all, by as much as chance alone sets them apart.

    With features brought to where the covariance that classes share is the identity, the mean of n images is off by 1/n
    in each of D directions. C means have the variance l along one of their principal directions, of which
    (1 + D/(C − 1))/n is chance (the bias of the eigenvalues of a spiked covariance, Baik and Silverstein 2006); their
    part along it is scaled by what is left, 1 − (1 + D/(C − 1))/(n·l), 0 at least. n is the harmonic mean of the
    classes' images. Needs two classes, and images of each.
    """
    root_DD = np.linalg.cholesky(shared_covariance(statistics)).T
    mean_CD = statistics.mean_CD.astype(np.float64)
    centre_D, others = mean_CD.mean(axis=0), statistics.class_count - 1
    white_CD = np.linalg.solve(root_DD.T, (mean_CD - centre_D).T).T
    own_CK, length_K, direction_KD = np.linalg.svd(white_CD, full_matrices=False)
    chance = (1 + statistics.dimension / others) * float(np.mean(1 / statistics.count_C))
    left_K = 1 - np.minimum(1, chance * others / np.maximum(length_K**2, np.finfo(np.float64).tiny))
    nearer_CD = centre_D + (own_CK * (length_K * left_K)) @ direction_KD @ root_DD
    return replace(statistics, mean_CD=nearer_CD.astype(np.float32))


def known_rates(after: Reached, seed: int) -> tuple[float, float]:
    """Of test images called known where the threshold lets `KNOWN_RATE` of the Gaussians' features pass, and where it
    is the server's; of features of the weights' own pooling.
    """
    sampled_ND, _ = after.statistics.sample(SAMPLES, np.random.default_rng(seed), constants.RIDGE)
    plain = fit_novelty(after.statistics, sampled_ND, rate=KNOWN_RATE)
    ours = SampledFit.of(after.head, after.statistics, seed=seed).novelty
    return float(plain.known(after.test_ND).mean()), float(ours.known(after.test_ND).mean())


def _known_table(found: Iterable[Run]) -> list[str]:
    lines = [
        f"| run | known, threshold at {KNOWN_RATE:.0%} of samples | as the server sets it (single tasks) |",
        "| --- | --- | --- |",
    ]
    for run in found:
        rates = [known_rates(after, run.seed) for after in reached(run, SETTINGS["ours"])]
        usual, ours = np.mean(rates, axis=0)
        lowest, highest = np.min(rates, axis=0)[1], np.max(rates, axis=0)[1]
        lines.append(f"| {_described(run)} | {usual:.1%} | {ours:.1%} ({lowest:.1%} to {highest:.1%}) |")
    return lines


def _figures(found: Sequence[Judgement]) -> str:
    """Cells of a table, of a run's tasks."""
    judged_TF = np.array([(one.temperature, one.best_is_times, one.calibration_error, one.likelihood) for one in found])
    temperature, times, error, likelihood = judged_TF.mean(axis=0)
    (_, lowest, _, _), (_, highest, worst, _) = judged_TF.min(axis=0), judged_TF.max(axis=0)
    factor = f"{times:.2f} ({lowest:.2f} to {highest:.2f})"
    return f"{temperature:.2f} | {factor} | {100 * error:.1f} | {100 * worst:.1f} | {likelihood:.2f}"


def _described(run: Run) -> str:
    """Its first task says how long features are, and of how many images a class has statistics on the average."""
    columns_N, dimension = run.tasks[0]["columns_N"], run.tasks[0]["new_ND"].shape[1]
    images = len(columns_N) / len(np.unique(columns_N))
    return f"{run.name}, seed {run.seed}, {dimension} features, {images:.0f} images a class"


def _scores(after: Reached, features_ND: Floats, normalised: bool) -> Floats:
    logits_NC = after.head.logits(features_ND)
    if not normalised:
        return logits_NC
    mean_norm_N1 = block_norms(logits_NC, after.blocks_C).mean(axis=1, keepdims=True) + constants.NORM_FLOOR
    return np.asarray(logits_NC / (mean_norm_N1 * constants.TEMPERATURE), np.float32)


@click.command()
@click.option(
    "--features", "folders", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True, multiple=True
)
@click.option("--head", "titles", type=click.Choice(list(SETTINGS)), multiple=True, help="[all]")
@click.option("--leading", type=click.IntRange(1), help="The first numbers of each feature alone.  [all]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path))
def main(folders: tuple[Path, ...], titles: tuple[str, ...], leading: int | None, out: Path | None) -> None:
    """Calibration error and likelihood of each way of scoring, means over the tasks of each run and the worst task's
    error; and how many images count as known."""
    lines = [
        "# Scores on runs of stage 1",
        "",
        f"    {shlex.join(['python', '-m', 'benchmarks.accuracy.scores'])} …",
        "",
        "| run | head | scores | temperature | the best is so many times it (single tasks) | calibration error |"
        " the worst task's | −log likelihood |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    kept = (cut_to(run, leading) for folder in folders for run in runs(folder))
    found_runs = list(of_one_length(kept, partial(click.echo, err=True)))
    for run in found_runs:
        for title in titles or SETTINGS:
            found: dict[str, list[Judgement]] = {}
            for after in reached(run, SETTINGS[title]):
                for name, one in judgements(after, run.seed) if after.head.class_count > 1 else ():
                    found.setdefault(name, []).append(one)
            lines += [f"| {_described(run)} | {title} | {name} | {_figures(mine)} |" for name, mine in found.items()]
    lines += ["", *_known_table(found_runs)]
    text = "\n".join([*lines, ""])
    click.echo(text)
    if out is not None:
        out.write_text(text)


if __name__ == "__main__":
    main()
