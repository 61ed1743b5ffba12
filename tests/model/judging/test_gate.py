"""The gate refuses what fell for certain, passes what did not, and says where it cannot tell."""

import numpy as np
import pytest

from model.judging.gate import Check, GateLimits, Judged, against_provisional, known_classes, new_classes, report

LIMITS = GateLimits()


def right(count: int, of: int) -> np.ndarray:
    return np.arange(of) < count


def test_a_fall_beyond_both_bounds_is_refused_and_names_its_figures() -> None:
    check = known_classes("base", right(80, 100), Judged(3, right(95, 100)), most_fall=0.02, limits=LIMITS)
    assert check.verdict == "refused"
    assert (check.accuracy, check.reference, check.against) == (0.8, 0.95, 3)
    differences = right(80, 100).astype(float) - right(95, 100)
    assert check.standard_error == pytest.approx(differences.std(ddof=1) / 10)
    assert report([check]).reason == f"base: accuracy 0.800 is below {check.bound:.3f} on 100 held-out images"


def test_a_fall_within_two_points_passes_however_certain() -> None:
    check = known_classes("base", right(9_850, 10_000), Judged(1, right(10_000, 10_000)), most_fall=0.02, limits=LIMITS)
    assert check.verdict == "passed"


def test_a_fall_within_two_standard_errors_passes_however_large() -> None:
    rng = np.random.default_rng(0)
    now_N, then_N = rng.random(40) < 0.6, rng.random(40) < 0.7
    gap = then_N.mean() - now_N.mean()
    check = known_classes("base", now_N, Judged(1, then_N), most_fall=0.0, limits=LIMITS)
    assert (check.verdict == "passed") == (gap <= 2 * check.standard_error)
    assert check.standard_error > 0.08


def test_fewer_than_twenty_images_are_not_judged() -> None:
    check = known_classes("base", right(0, 19), Judged(1, right(19, 19)), most_fall=0.02, limits=LIMITS)
    assert check.verdict == "not_judged"
    judged = report([check])
    assert judged.passes(strict=False) and not judged.passes(strict=True)
    assert judged.reason is None


@pytest.mark.parametrize(
    ("correct", "base_accuracy", "classes", "verdict"),
    [
        (10, 0.9, 10, "refused"),
        (40, 0.9, 10, "passed"),
        (60, None, 2, "refused"),
        (70, None, 2, "passed"),
        (100, None, 2, "passed"),
        (10, None, 10, "refused"),
        (15, None, 10, "passed"),
        (2, None, 10, "refused"),
    ],
)
def test_new_classes_must_reach_half_of_the_base_or_twice_chance(
    correct: int, base_accuracy: float | None, classes: int, verdict: str
) -> None:
    check = new_classes(right(correct, 100), base_accuracy=base_accuracy, class_count=classes)
    assert check.verdict == verdict


def test_a_single_class_cannot_be_judged_by_chance() -> None:
    assert new_classes(right(50, 50), base_accuracy=None, class_count=1).verdict == "not_judged"


def test_a_final_may_not_fall_behind_its_provisional() -> None:
    provisional = Judged(7, right(190, 200))
    assert against_provisional(right(120, 200), provisional, LIMITS).verdict == "refused"
    assert against_provisional(right(190, 200), provisional, LIMITS).verdict == "passed"
    assert against_provisional(right(195, 200), provisional, LIMITS).verdict == "passed"


def test_one_refusal_refuses_and_one_pass_outweighs_what_was_not_judged() -> None:
    passed, refused, silent = (
        Check("a", "passed", 30),
        Check("b", "refused", 30, 0.1, 0.9, 0.8),
        Check("c", "not_judged", 3),
    )
    assert report([passed, silent]).verdict == "passed"
    assert report([passed, refused, silent]).verdict == "refused"
    assert report([silent]).verdict == "not_judged"
    assert report([]).verdict == "not_judged"
    assert report([passed]).to_json()["checks"][0]["name"] == "a"
