"""A version is judged on what its ancestry held out: figures per task, forgetting, and the gate's checks."""

import json

import numpy as np
import pytest

from model.judging.gate import GateLimits
from service.learner.judging import Answers, Forebear, Forebears, best_of, compare_backbones, judge

LIMITS = GateLimits()


def answers(classes: str, truth: str, said: str, tasks: list[str], digests: list[str] | None = None) -> Answers:
    """Images of the classes in `truth`, answered as in `said`; each class is one letter."""
    logits_NC = np.zeros((len(said), len(classes)), dtype=np.float32)
    for row, letter in enumerate(said):
        logits_NC[row, classes.index(letter)] = 1.0
    names = digests or [f"i{n}" for n in range(len(truth))]
    return Answers(logits_NC, tuple(classes), tuple(truth), tuple(names), tuple(tasks))


def forebear(
    version: int, classes: str, correct: dict[str, bool], per_task: dict[str, float] | None = None
) -> Forebear:
    accuracy = sum(correct.values()) / len(correct) if correct else None
    return Forebear(version, frozenset(classes), accuracy, per_task or {}, len(correct), correct)


def test_accuracy_is_over_all_images_and_by_the_task_that_brought_them() -> None:
    judged = judge(answers("abc", "aabbcc", "aabbca", ["1"] * 4 + ["2"] * 2), Forebears(), LIMITS, enabled=True)
    assert judged.accuracy == pytest.approx(5 / 6)
    assert judged.accuracy_per_task == [
        {"task": "1", "accuracy": 1.0, "images": 4},
        {"task": "2", "accuracy": 0.5, "images": 2},
    ]
    assert judged.forgetting is None
    assert json.loads(judged.correct_bytes()) == {f"i{n}": n != 5 for n in range(6)}


def test_forgetting_is_the_mean_fall_from_the_lineage_s_best() -> None:
    lineage = (forebear(1, "a", {}, {"1": 0.9}), forebear(2, "ab", {}, {"1": 0.7, "2": 0.8}))
    now = answers("abc", "aabbcc", "aabcca", ["1"] * 2 + ["2"] * 2 + ["3"] * 2)
    judged = judge(now, Forebears(lineage=lineage), LIMITS, enabled=True)
    assert judged.forgetting == pytest.approx(((0.9 - 1.0) + (0.8 - 0.5)) / 2)


def test_old_classes_are_judged_among_themselves_alone() -> None:
    """Every old image is now called a new class, yet among the old classes it is still right."""
    truth, said = "a" * 15 + "b" * 15, "c" * 30
    logits = answers("abc", truth, said, ["1"] * 30)
    for row, letter in enumerate(truth):
        logits.logits_NC[row, "abc".index(letter)] = 0.5
    base = forebear(4, "ab", {f"i{n}": True for n in range(30)})
    report = judge(logits, Forebears(base=base, best=base, lineage=(base,)), LIMITS, enabled=True).report
    assert [(check.name, check.verdict) for check in report.checks] == [
        ("base", "passed"),
        ("new_classes", "not_judged"),
    ]
    assert report.checks[0].accuracy == 1.0


def test_forgotten_classes_and_a_worse_final_are_refused() -> None:
    truth = "a" * 30 + "b" * 30
    now = answers("ab", truth, "b" * 60, ["1"] * 60)
    right = {f"i{n}": True for n in range(60)}
    base, best, provisional = forebear(4, "ab", right), forebear(1, "ab", right), forebear(5, "ab", right)
    report = judge(now, Forebears(base, best, provisional, (best, base)), LIMITS, enabled=True).report
    assert {check.name: check.verdict for check in report.checks} == {
        "base": "refused",
        "lineage": "refused",
        "provisional": "refused",
    }
    assert report.verdict == "refused"


def test_new_classes_alone_count_for_the_check_of_new_classes() -> None:
    now = answers("ab", "a" * 40 + "b" * 40, "a" * 80, ["1"] * 40 + ["2"] * 40)
    base = forebear(1, "a", {f"i{n}": True for n in range(40)})
    report = judge(now, Forebears(base=base, best=base), LIMITS, enabled=True).report
    new = next(check for check in report.checks if check.name == "new_classes")
    assert (new.verdict, new.images, new.accuracy) == ("refused", 40, 0.0)


def test_nothing_held_out_means_no_figures() -> None:
    judged = judge(answers("ab", "", "", []), Forebears(), LIMITS, enabled=True)
    assert (judged.accuracy, judged.accuracy_per_task, judged.forgetting) == (None, [], None)
    assert judged.report.verdict == "not_judged"


def test_a_gate_that_is_off_checks_nothing() -> None:
    now = answers("ab", "a" * 30, "b" * 30, ["1"] * 30)
    assert judge(now, Forebears(), LIMITS, enabled=False).report.checks == ()


def test_the_best_of_a_lineage_is_the_oldest_of_the_most_accurate_that_was_judged() -> None:
    few = forebear(1, "a", {"x": True})
    first = forebear(2, "a", {f"i{n}": n > 1 for n in range(20)})
    second = forebear(3, "a", {f"i{n}": n > 1 for n in range(20)})
    worse = forebear(4, "a", {f"i{n}": n > 9 for n in range(20)})
    assert best_of([few, first, second, worse]) is first
    assert best_of([few]) is None


def test_a_moved_backbone_pays_where_more_images_are_right_and_not_where_as_many() -> None:
    better_N, worse_N = np.array([True, True, False]), np.array([True, False, False])
    found = [compare_backbones(moved_N, worse_N) for moved_N in (better_N, worse_N)]
    assert [one is not None and one.pays for one in found] == [True, False]
    assert compare_backbones(better_N[:0], worse_N[:0]) is None
