"""What is varied on kept features: the experiments of method.md 7 that need no stage 1 of their own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from model import paper as constants
from model.aligners import ClosedFormAligner, GaussianAligner
from model.heads.alignment import AlignmentPlan, NormBlocks
from model.heads.sample_scale import SampleScale
from model.heads.spread_plan import SpreadPlan
from model.method import Aligner
from model.statistics.class_statistics import ClassStatistics
from model.statistics.drift import STRENGTHS, RidgeDrift
from model.statistics.shrinkage import FEW_FOR_THE_DIMENSION, FewImages

Stored = Callable[[ClassStatistics], ClassStatistics]
Scaled = Callable[[ClassStatistics, NDArray[np.int64]], ClassStatistics]


def whole(statistics: ClassStatistics) -> ClassStatistics:
    """All that the images tell: a mean and a full covariance for each class."""
    return statistics


def diagonal(statistics: ClassStatistics) -> ClassStatistics:
    """Variances alone."""
    return _with_factors(statistics, lambda factor_RD: np.diag(np.sqrt((factor_RD**2).sum(axis=0))))


def shared(statistics: ClassStatistics) -> ClassStatistics:
    """The covariance that the task's classes have in common."""
    variance_D, vectors_DD = np.linalg.eigh(statistics.pooled_covariance())
    root_DD = (vectors_DD * np.sqrt(np.maximum(variance_D, 0))).T
    return _with_factors(statistics, lambda _: root_DD)


def spherical(statistics: ClassStatistics) -> ClassStatistics:
    """One variance for all directions."""
    return _with_factors(
        statistics, lambda factor_RD: np.eye(factor_RD.shape[1]) * np.sqrt((factor_RD**2).sum() / factor_RD.shape[1])
    )


def of_rank(rank: int) -> Stored:
    """The directions of greatest variance, and the mean of what is left for all directions."""

    def cut(factor_RD: np.ndarray) -> np.ndarray:
        _, deviation_K, directions_KD = np.linalg.svd(factor_RD, full_matrices=False)
        left = (deviation_K[rank:] ** 2).sum() / factor_RD.shape[1]
        return np.concatenate(
            [deviation_K[:rank, None] * directions_KD[:rank], np.sqrt(left) * np.eye(factor_RD.shape[1])]
        )

    return lambda statistics: _with_factors(statistics, cut)


def _with_factors(statistics: ClassStatistics, change: Callable[[np.ndarray], np.ndarray]) -> ClassStatistics:
    factors = tuple(
        change(factor_RD.astype(np.float64)).astype(np.float32) if len(factor_RD) else factor_RD
        for factor_RD in statistics.factors
    )
    return ClassStatistics(statistics.count_C, statistics.mean_CD, factors, statistics.drift_error_C)


def as_it_is(statistics: ClassStatistics, blocks_C: NDArray[np.int64]) -> ClassStatistics:
    """What was stored."""
    return statistics


def decayed_as_in_the_reference(statistics: ClassStatistics, blocks_C: NDArray[np.int64]) -> ClassStatistics:
    """Means scaled by 0.9 + 0.1·t/k with t = column // size of the latest task + 1, as the paper's code has it.

    That is t(c) where all tasks are of one size; elsewhere it is a whole task off, or beyond k (method.md 2.5).
    """
    latest = int((blocks_C == blocks_C.max()).sum())
    task_C = np.arange(len(blocks_C)) // latest + 1
    scale_C = 1 - constants.MEAN_DECAY + constants.MEAN_DECAY * task_C / len(np.unique(blocks_C))
    mean_CD = (statistics.mean_CD * scale_C[:, None]).astype(np.float32)
    return replace(statistics, mean_CD=mean_CD)


@dataclass(frozen=True)
class Setting:
    """An aligner (None: the head as stage 1 left it), how statistics follow the backbone, in which form they are
    stored, of how many images of each class (None: all), whether of second views too, whether drift maps are fitted on
    turned views too, around how many centroids of each class features are drawn, and how statistics are scaled before
    alignment.
    """

    aligner: Aligner | None = field(default_factory=GaussianAligner)
    drift: RidgeDrift | None = None
    stored: Stored = whole
    images: int | None = None
    two_views: bool = False
    turned: bool = False
    centroids: int = 1
    scaled: Scaled = as_it_is


@dataclass(frozen=True)
class Experiment:
    """A question, and the settings whose figures answer it, by title."""

    question: str
    settings: Mapping[str, Setting]


def paper(**changes: object) -> Setting:
    """SLCA with other settings of stage 2."""
    return Setting(GaussianAligner(AlignmentPlan(**changes)))  # type: ignore[arg-type]


def ours(images: int | None = None, **changes: object) -> Setting:
    """The server's default, but of one view, with other settings of stage 2."""
    plan = AlignmentPlan(**{"few_images": FEW_FOR_THE_DIMENSION, **changes})  # type: ignore[arg-type]
    return Setting(GaussianAligner(plan, on_first_task=True, start="discriminant"), RidgeDrift(), images=images)


def _views(name: str, setting: Setting) -> dict[str, Setting]:
    return {f"{name}, one view": setting, f"{name}, two views": replace(setting, two_views=True)}


def _turned(name: str, setting: Setting) -> dict[str, Setting]:
    return {name: setting, f"{name}, turned views too": replace(setting, turned=True)}


def _centroids(name: str, setting: Setting) -> dict[str, Setting]:
    return {
        f"{name}, {count} of each class, {form}": replace(setting, centroids=count, stored=stored)
        for form, stored in (("full", whole), ("spherical", spherical))
        for count in (1, 2, 4, 8)
    }


def _both(name: str, aligner: Aligner | None) -> dict[str, Setting]:
    return {name: Setting(aligner), f"{name}, carried": Setting(aligner, RidgeDrift())}


def _spread(setting: Setting, plan: SpreadPlan | None) -> Setting:
    assert isinstance(setting.aligner, GaussianAligner)
    return replace(setting, aligner=replace(setting.aligner, spread=plan))


FORMS: Mapping[str, Stored] = {
    "full": whole,
    "rank 32": of_rank(32),
    "rank 8": of_rank(8),
    "shared by the task": shared,
    "diagonal": diagonal,
    "spherical": spherical,
}

SPREADS: Mapping[str, SpreadPlan | None] = {
    "none": None,
    "16 directions, κ D/2, 0.4 of it": SpreadPlan(),
    **{f"{count} directions": SpreadPlan(directions=count) for count in (4, 8, 32, 64)},
    **{f"κ {of:g} D": SpreadPlan(of_dimension=of) for of in (0.125, 0.25, 1, 2)},
    **{f"{part:g} of it": SpreadPlan(part=part) for part in (0.1, 0.2, 0.3, 0.5, 1)},
}

BORROWING: Mapping[str, FewImages | None] = {
    "nothing": None,
    "κ = D/8": FewImages(fewer_than=None, of_dimension=0.125),
    "κ = D/4": FEW_FOR_THE_DIMENSION,
    "κ = D/2": FewImages(fewer_than=None, of_dimension=0.5),
}

NORMS: Mapping[str, NormBlocks] = {
    "the mean of ‖l_t‖ (the paper)": "alike",
    "‖l_t‖ weighted by block size": "by_size",
    "the mean of ‖l_t‖/√C_t": "per_class",
    "‖l‖/√C, as one block": "as_one",
}

EXPERIMENTS: Mapping[str, Experiment] = {
    "parts": Experiment(
        "what does each part of SLCA add?",
        {
            "slow learner": Setting(None),
            "+ alignment, no mean decay": paper(logit_norm=False, mean_decay=False),
            "+ mean decay": paper(logit_norm=False),
            "+ logit normalisation, no mean decay": paper(mean_decay=False),
            "SLCA": paper(),
            "alignment of SLCA++": paper(mean_decay=False, sample_scale=SampleScale()),
        },
    ),
    "heads": Experiment(
        "which head, and do carried statistics help it?",
        _both("SLCA", GaussianAligner())
        | _both("linear discriminant", ClosedFormAligner("lda"))
        | _both("ridge regression", ClosedFormAligner("ridge"))
        | _both("nearest mean", ClosedFormAligner("nearest_mean"))
        | _both("aligned from the discriminant", GaussianAligner(on_first_task=True, start="discriminant")),
    ),
    "temperature": Experiment(
        "which τ of the normalised loss?", {f"τ {tau:g}": paper(tau=tau) for tau in (0.02, 0.05, 0.1, 0.2, 0.5)}
    ),
    "norm_blocks": Experiment(
        "how do blocks share in the norm of logits? (tasks of one size know no difference, but for 'as one')",
        {f"SLCA, {name}": paper(norm_blocks=rule) for name, rule in NORMS.items()}
        | {f"ours, {name}": ours(norm_blocks=rule) for name, rule in NORMS.items()},
    ),
    "samples": Experiment(
        "how many samples of each class, in how many epochs?",
        {f"{count} samples": paper(samples_per_class=count) for count in (32, 64, 128, 256, 512, 1024)}
        | {f"{epochs} epochs": paper(epochs=epochs) for epochs in (1, 2, 10, 20)},
    ),
    "samples, ours": Experiment(
        "the same for alignment that begins from the discriminant of carried statistics",
        {f"{count} samples": ours(samples_per_class=count) for count in (32, 64, 128, 256, 512)}
        | {f"{epochs} epochs": ours(epochs=epochs) for epochs in (1, 2, 10)}
        | {"τ 0.05": ours(tau=0.05), "τ 0.2": ours(tau=0.2), "no mean decay": ours(mean_decay=False)},
    ),
    "covariance": Experiment(
        "in which form are covariances stored?",
        {f"SLCA, {name}": Setting(stored=form) for name, form in FORMS.items()}
        | {f"ours, {name}": Setting(ours().aligner, RidgeDrift(), form) for name, form in FORMS.items()},
    ),
    "centroids": Experiment(
        "one Gaussian a class, or several, around the centroids of its images?",
        _centroids("SLCA", paper()) | _centroids("ours", ours()),
    ),
    "decay": Experiment(
        "does mean decay matter, and the reference's way of counting tasks? (tasks of one size know no difference)",
        # Without a bound on the first step, which sees the means of the last setting scaled and others' as they are.
        {
            "no mean decay": paper(mean_decay=False, largest_first_step=None),
            "by the task that brought the class": paper(largest_first_step=None),
            "by the latest task's size": replace(
                paper(mean_decay=False, largest_first_step=None), scaled=decayed_as_in_the_reference
            ),
        },
    ),
    "views": Experiment(
        "statistics of one view of each image, or of its middle too?",
        _views("the default", ours())
        | _views("linear discriminant, carried", Setting(ClosedFormAligner("lda"), RidgeDrift()))
        | _views("nearest mean, carried", Setting(ClosedFormAligner("nearest_mean"), RidgeDrift()))
        | _views("SLCA", paper()),
    ),
    "turned": Experiment(
        "drift maps fitted on evaluation views, or on the images upside down too?",
        _turned("the default", replace(ours(), two_views=True))
        | _turned("linear discriminant", Setting(ClosedFormAligner("lda"), RidgeDrift(), two_views=True)),
    ),
    "pull": Experiment(
        "how strongly do drift maps hold on to the identity? (decision 0007; chosen: by each task's left-out classes)",
        {
            f"{name}, {told}": Setting(aligner, RidgeDrift(strength), two_views=True)
            for name, aligner in (("the default", ours().aligner), ("linear discriminant", ClosedFormAligner("lda")))
            for told, strength in (*((f"{one:g}", one) for one in STRENGTHS), ("chosen", None))
        },
    ),
    "spread": Experiment(
        "how much of the classes' own spread? (decision 0026; what is not named is as in the second row)",
        {f"ours, {name}": _spread(replace(ours(), two_views=True), plan) for name, plan in SPREADS.items()}
        | {
            f"ours, {images} images, {name}": _spread(replace(ours(images), two_views=True), plan)
            for images in (5, 10, 20)
            for name, plan in (("no spread", None), ("16 directions", SpreadPlan()))
        }
        | {f"SLCA, {name}": _spread(paper(), plan) for name, plan in list(SPREADS.items())[:2]},
    ),
    "borrowing": Experiment(
        "how much of the pooled covariance does each class borrow?",
        {f"ours, {name}": ours(few_images=rule) for name, rule in BORROWING.items()}
        | {f"SLCA, {name}": paper(few_images=rule) for name, rule in BORROWING.items()},
    ),
    "few images": Experiment(
        "statistics of fewer images (stage 1 saw them all): borrowing the pooled covariance or not",
        {
            f"{images} images, {name}": ours(images, few_images=rule)
            for images in (1, 2, 5, 10, 20, 50)
            for name, rule in (
                ("no rule", None),
                ("κ 10 below 20 images", FewImages()),
                ("κ 10 always", FewImages(fewer_than=10_000)),
                ("κ 40 always", FewImages(40, 10_000)),
                ("κ D/4 always", FEW_FOR_THE_DIMENSION),
            )
        },
    ),
}
