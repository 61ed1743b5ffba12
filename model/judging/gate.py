"""May a version take over from the one in force? Judged on held-out images, never on what was learned from.

Three checks, each of which passes, refuses, or has too few images to judge:

- `known_classes`: on the images that an earlier version was judged on, argmax among that version's classes alone, so
  that more classes do not look like forgetting. Against the base, and against the best version of the lineage.
- `new_classes`: the images of classes that the base does not know, argmax among all.
- `provisional`: a final version against its own provisional, all images, all classes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.judging.evaluation import paired_standard_error, wilson_upper

Verdict = Literal["passed", "refused", "not_judged"]

FEWEST_IMAGES = 20
"""Below this many images a check says `not_judged`."""


@dataclass(frozen=True)
class GateLimits:
    """How far a version may fall. Falls are rates in 0–1, `standard_errors` a multiple of the paired difference's."""

    base_fall: float = 0.02
    lineage_fall: float = 0.05
    standard_errors: float = 2.0
    strict: bool = False


@dataclass(frozen=True)
class Check:
    """One judgement with the figures it rests on; `bound` is what `accuracy` was held against."""

    name: str
    verdict: Verdict
    images: int
    accuracy: float | None = None
    reference: float | None = None
    bound: float | None = None
    standard_error: float | None = None
    against: int | None = None


@dataclass(frozen=True)
class GateReport:
    """All checks of one version and what follows from them."""

    verdict: Verdict
    checks: tuple[Check, ...]

    @property
    def reason(self) -> str | None:
        """Which checks refused, in words; None where none did."""
        refused = [_in_words(check) for check in self.checks if check.verdict == "refused"]
        return "; ".join(refused) or None

    def passes(self, *, strict: bool) -> bool:
        """Whether the version may take over; `strict` refuses what could not be judged."""
        return self.verdict == "passed" or (self.verdict == "not_judged" and not strict)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {"verdict": self.verdict, "checks": [asdict(check) for check in self.checks]}


@dataclass(frozen=True)
class Judged:
    """An earlier version on its own held-out images: `correct_N` by image, in the order of the images compared."""

    version: int
    correct_N: NDArray[np.bool_]


def known_classes(name: str, now_N: NDArray[np.bool_], then: Judged, *, most_fall: float, limits: GateLimits) -> Check:
    """Refused if the fall exceeds both `most_fall` and the standard errors of the paired difference.

    `now_N` says of each image whether the new version is right among the earlier version's classes alone.
    """
    return _paired(name, now_N, then.correct_N, most_fall, limits, against=then.version)


def new_classes(correct_N: NDArray[np.bool_], *, base_accuracy: float | None, class_count: int) -> Check:
    """Refused if even the upper 95 % Wilson bound is below half of the base's accuracy.

    Without a judged base the floor is twice chance, but no higher than half-way from chance to certainty (with two
    classes twice chance would ask for every image to be right).
    """
    images = len(correct_N)
    if images < FEWEST_IMAGES or class_count < 2:
        return Check("new_classes", "not_judged", images)
    chance = 1 / class_count
    floor = min(2 * chance, (1 + chance) / 2) if base_accuracy is None else base_accuracy / 2
    upper = wilson_upper(int(correct_N.sum()), images)
    verdict: Verdict = "refused" if upper < floor else "passed"
    return Check("new_classes", verdict, images, float(correct_N.mean()), base_accuracy, floor)


def against_provisional(final_N: NDArray[np.bool_], provisional: Judged, limits: GateLimits) -> Check:
    """Refused if the final version falls behind its provisional by more than the standard errors."""
    return _paired("provisional", final_N, provisional.correct_N, 0.0, limits, against=provisional.version)


def report(checks: Sequence[Check]) -> GateReport:
    """The verdict over all checks: refused if one refuses, passed if one passes, else not judged."""
    verdicts = {check.verdict for check in checks}
    overall: Verdict = "refused" if "refused" in verdicts else "passed" if "passed" in verdicts else "not_judged"
    return GateReport(overall, tuple(checks))


def _paired(
    name: str,
    now_N: NDArray[np.bool_],
    then_N: NDArray[np.bool_],
    most_fall: float,
    limits: GateLimits,
    *,
    against: int,
) -> Check:
    images = len(now_N)
    if images < FEWEST_IMAGES:
        return Check(name, "not_judged", images, against=against)
    error = paired_standard_error(now_N, then_N)
    now, then = float(now_N.mean()), float(then_N.mean())
    allowed = max(most_fall, limits.standard_errors * error)
    verdict: Verdict = "refused" if then - now > allowed + 1e-12 else "passed"
    return Check(name, verdict, images, now, then, then - allowed, error, against)


def _in_words(check: Check) -> str:
    return f"{check.name}: accuracy {check.accuracy:.3f} is below {check.bound:.3f} on {check.images} held-out images"
