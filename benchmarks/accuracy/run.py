"""One seed: a chain of every head that one slow learner can have, and the heads that serve until it is done."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks.accuracy.before import BeforeTuning
from everclass.bench.chain import Chain, Extras, Listener
from everclass.bench.course import Course
from everclass.bench.prepared import Prepared
from everclass.bench.progress import ProgressFolder
from model.judging.evaluation import AccuracyMatrix
from model.training.threads import limited_threads
from model.training.tuning import TuningProgress

HEADS: Mapping[str, str] = {
    "slow learner alone": "sl",
    "SLCA": "slca",
    "linear discriminant": "sl+lda",
    "nearest mean": "sl+ncm",
    "SLCA, statistics carried": "slca+drift",
    "linear discriminant, statistics carried": "sl+lda+drift",
}
"""The method of each head; they share stage 1."""

STEPS_BETWEEN = 40
"""From one line about stage 1 to the next."""


@dataclass(frozen=True)
class Outcome:
    """Accuracies by head, and seconds of SLCA by phase."""

    matrices: Mapping[str, AccuracyMatrix]
    seconds: Mapping[str, float]


def learned(prepared: Prepared, course: Course, features: Path | None) -> Outcome:
    """All tasks of the course; each task's features are kept in this folder."""
    (methods,) = prepared.chains
    before, training = BeforeTuning(prepared, course), prepared.training

    def task(number: int, accuracy: Mapping[str, float]) -> None:
        rates = before.rates | {title: accuracy[name] for title, name in HEADS.items()}
        told = ", ".join(f"{title} {100 * rate:.1f}" for title, rate in rates.items())
        click.echo(f"seed {course.seed} task {number + 1}: {told}")

    listener = Listener(on_step=_step, on_task=task, on_judged=before.judge)
    with TemporaryDirectory() as folder, limited_threads(training.threads):
        progress = ProgressFolder(Path(folder), {}, {})
        extras = Extras(features=features, origin=prepared.origin(next(iter(methods.values()))))
        found = Chain(methods, course, training, prepared.weights, progress, listener, extras).run()
    matrices = before.matrices | {title: found[name].accuracies for title, name in HEADS.items()}
    return Outcome(matrices, found[HEADS["SLCA"]].seconds)


def _step(task: int, progress: TuningProgress) -> None:
    if progress.step % STEPS_BETWEEN == 0:
        click.echo(
            f"  step {progress.step}/{progress.steps} loss {progress.loss:.3f} "
            f"accuracy {progress.accuracy:.3f} {progress.seconds:.0f} s"
        )
