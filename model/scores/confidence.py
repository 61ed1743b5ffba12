"""How sure a version is, and of what: its temperature and its rule for unknown images, fitted and reported."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model import paper
from model.heads.head import Head
from model.scores.calibration import expected_calibration_error, fit_temperature, softmax
from model.scores.novelty import KNOWN_RATE, SAMPLES, NoveltyRule, fit_novelty
from model.snapshot import Snapshot
from model.statistics.class_statistics import ClassStatistics
from model.statistics.predictive import sample_new_images

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

FEWEST_FITTING = 20
"""Fewer held-out images than this are no ground for a temperature or a threshold."""

SAMPLES_ARE_EASIER = 2.0
"""How much higher the temperature of images is than that of features sampled as new images might have them.

The backbone has seen the images that the statistics describe, so that new ones lie nearer to other classes. Found on
validation images of Split CIFAR-100, and looked at on test images of uneven tasks and of PACS (decision 0022).
"""

SAMPLED_KNOWN_RATE = 0.97
"""Rate of sampled features that shall be called known, so that `KNOWN_RATE` (0.95) of images are."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out images that only judge: features, columns, and which of them may fit (`fitting_half`)."""

    features_ND: Floats
    columns_N: Ints
    fitting_N: NDArray[np.bool_]


@dataclass(frozen=True)
class CalibrationReport:
    """`calibration_error` and `known_rate` are measured on the held-out images that nothing was fitted on, or None."""

    temperature: float
    calibration_error: float | None
    known_rate: float | None
    images: int


@dataclass(frozen=True)
class SampledFit:
    """What class statistics alone say: a head's temperature for images, and a rule for unknown ones."""

    temperature: float
    novelty: NoveltyRule

    @classmethod
    def of(cls, head: Head, statistics: ClassStatistics, *, seed: int, novelty_dim: int | None = None) -> "SampledFit":
        """Fitted on features sampled as new images of the classes might have them.

        The temperature is that of the head's rows alone: samples have the very spread that would tell them apart.
        The rule is of the first `novelty_dim` numbers of a feature (None: of all), and so are the samples that it is
        fitted on. The threshold lets `KNOWN_RATE` of these pass, which lie beyond where few images span few directions,
        and `SAMPLED_KNOWN_RATE` of features from the class Gaussians.
        """
        new_ND, new_N = sample_new_images(statistics, SAMPLES, np.random.default_rng(seed))
        fitted = fit_temperature(head.linear.logits(new_ND), new_N, int(statistics.count_C.sum()))
        if novelty_dim not in (None, statistics.dimension):
            # Drawn anew, not cut: how far samples spread would depend on the numbers that are not read.
            statistics = statistics.leading(novelty_dim)
            new_ND, _ = sample_new_images(statistics, SAMPLES, np.random.default_rng(seed))
        drawn_ND, _ = statistics.sample(SAMPLES, np.random.default_rng(seed), paper.RIDGE)
        rule = fit_novelty(statistics, drawn_ND, rate=SAMPLED_KNOWN_RATE)
        beyond = float(np.quantile(rule.scores(new_ND), 1 - KNOWN_RATE, method="lower"))
        return cls(SAMPLES_ARE_EASIER * fitted, replace(rule, threshold=min(rule.threshold, beyond)))


def calibrated(snapshot: Snapshot, held_out: HeldOut, *, seed: int) -> tuple[Snapshot, CalibrationReport]:
    """The version with a temperature and a rule for unknown images, fitted on one half and reported on the other.

    Where that half has fewer than 20 images both are fitted on features sampled from the class statistics, with
    account of how much easier these are. The rule reads what `BackboneSpec.novelty_dim` says.
    """
    statistics, fit_N = snapshot.statistics, held_out.fitting_N
    novelty_dim = snapshot.spec.novelty_dim(statistics.dimension)
    features_ND, columns_N = held_out.features_ND[fit_N], held_out.columns_N[fit_N]
    if len(columns_N) >= FEWEST_FITTING:
        temperature = fit_temperature(snapshot.aligned.logits(features_ND), columns_N)
        novelty = fit_novelty(statistics.leading(novelty_dim), features_ND)
    else:
        sampled = SampledFit.of(snapshot.aligned, statistics, seed=seed, novelty_dim=novelty_dim)
        temperature, novelty = sampled.temperature, sampled.novelty
    report_ND, report_N = held_out.features_ND[~fit_N], held_out.columns_N[~fit_N]
    probabilities_NC = softmax(snapshot.aligned.logits(report_ND) / temperature)
    report = CalibrationReport(
        temperature,
        expected_calibration_error(probabilities_NC, report_N),
        float(novelty.known(report_ND).mean()) if len(report_N) else None,
        len(report_N),
    )
    return snapshot.calibrated(temperature, novelty), report
