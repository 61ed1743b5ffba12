import pytest

from everclass.demo.pictures import Lesson
from everclass.demo.report import Said, TaskReport, accuracies, forgetting, show_reports
from everclass.images import LabelledImage
from everclass.results import Answer, Prediction, Version


def lesson(*labels: str) -> Lesson:
    return Lesson(tuple(sorted(set(labels))), (), tuple(LabelledImage(label, b"") for label in labels))


def answer(version: int, *pairs: tuple[str, float]) -> Answer:
    return Answer(version=version, predictions=tuple(Prediction(label=label, score=score) for label, score in pairs))


def test_answers_of_one_version_are_put_together_in_order() -> None:
    said = Said.of([answer(3, ("a", 0.5), ("b", 0.25)), answer(3, ("c", 1.0))])
    assert said == Said(3, ("a", "b", "c"), (0.5, 0.25, 1.0))
    with pytest.raises(ValueError, match=r"versions \[3, 4\] answered"):
        Said.of([answer(3, ("a", 0.5)), answer(4, ("a", 0.5))])


def test_differences_count_labels_and_measure_scores() -> None:
    said, other = Said(1, ("a", "b"), (0.5, 0.25)), Said(2, ("a", "c"), (0.75, 0.25))
    assert said.differences(said) == (0, 0.0)
    assert said.differences(other) == (1, 0.25)


def test_accuracy_is_counted_lesson_by_lesson() -> None:
    said = Said(1, ("a", "b", "x", "c"), (1.0,) * 4)
    assert accuracies([lesson("a", "b", "b"), lesson("c")], said) == (2 / 3, 1.0)


def test_forgetting_is_the_mean_fall_from_the_best_of_each_earlier_lesson() -> None:
    assert forgetting([], [0.9]) is None
    before = [[0.8], [0.9, 1.0]]
    assert forgetting(before, [0.7, 0.95, 0.5]) == pytest.approx((0.2 + 0.05) / 2)


def test_a_version_that_does_not_serve_is_marked_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    versions = (
        Version(version=1, kind="provisional", state="deleted", reason="no longer needed"),
        Version(version=2, kind="final", state="held", reason="worse on 3 of 40 images"),
        Version(version=3, kind="final", state="damaged", reason="a part is missing"),
        Version(version=4, kind="final", state="ready"),
    )
    said = Said(1, ("a",), (1.0,))
    show_reports([TaskReport("1", lesson("a"), versions, 1.0, None, 1.0, (1.0,), None, 5, 0, said)])
    told = capsys.readouterr().out
    assert "2 held, 3 damaged, 4 " in told
    assert "version 2 is held: worse on 3 of 40 images\nversion 3 is damaged: a part is missing\n" in told
    assert "no longer needed" not in told
