"""What the demonstration found out, task by task."""

from collections.abc import Sequence
from dataclasses import dataclass

import click

from everclass.demo.pictures import Lesson
from everclass.results import Answer, Version
from everclass.showing import percent, show_table


@dataclass(frozen=True)
class Said:
    """The answers to all images asked about, in their order, all by one version."""

    version: int
    labels: tuple[str, ...]
    scores: tuple[float, ...]

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> "Said":
        """The answers put together; raises ValueError where several versions gave them."""
        versions = {answer.version for answer in answers}
        if len(versions) != 1:
            raise ValueError(f"versions {sorted(versions)} answered where one was expected")
        predictions = [prediction for answer in answers for prediction in answer.predictions]
        return cls(versions.pop(), tuple(p.label for p in predictions), tuple(p.score for p in predictions))

    def differences(self, other: "Said") -> tuple[int, float]:
        """How many labels differ, and by how much the scores do at most."""
        labels = sum(mine != its for mine, its in zip(self.labels, other.labels, strict=True))
        return labels, max(abs(mine - its) for mine, its in zip(self.scores, other.scores, strict=True))


@dataclass(frozen=True)
class TaskReport:
    """One task: what it made, how long that took, and how good it is by the demonstration's own images.

    Times are seconds since the commit, rates 0–1, `accuracies` by lesson, oldest first.
    """

    name: str
    lesson: Lesson
    versions: tuple[Version, ...]
    right_after_s: float | None
    final_after_s: float | None
    accuracy: float
    accuracies: tuple[float, ...]
    forgetting: float | None
    answered: int
    failed: int
    said: Said


def accuracies(lessons: Sequence[Lesson], said: Said) -> tuple[float, ...]:
    """The rate of right answers for each lesson, where `said` answers the images of all of them in order."""
    rates: list[float] = []
    start = 0
    for lesson in lessons:
        end = start + len(lesson.asked)
        right = sum(image.label == label for image, label in zip(lesson.asked, said.labels[start:end], strict=True))
        rates.append(right / len(lesson.asked))
        start = end
    return tuple(rates)


def forgetting(before: Sequence[Sequence[float]], now: Sequence[float]) -> float | None:
    """By how much the earlier lessons fell from their best accuracy, on average; None without earlier lessons."""
    falls = [max(row[number] for row in before if len(row) > number) - now[number] for number in range(len(now) - 1)]
    return sum(falls) / len(falls) if falls else None


def show_reports(reports: Sequence[TaskReport]) -> None:
    """The final table, and why versions that might have served do not."""
    headings = (
        "task",
        "classes",
        "provisional",
        "final",
        "first right answer",
        "final version",
        "accuracy, all seen",
        "forgetting",
        "answered",
        "failed",
    )
    show_table(headings, [_row(report) for report in reports])
    for version in (version for report in reports for version in report.versions if _is_out(version)):
        click.echo(f"version {version.version} is {version.state}: {version.reason}")


def _row(report: TaskReport) -> tuple[object, ...]:
    return (
        report.name,
        ", ".join(report.lesson.labels),
        _numbers(report.versions, "provisional"),
        _numbers(report.versions, "final"),
        _seconds(report.right_after_s),
        _seconds(report.final_after_s),
        percent(report.accuracy),
        percent(report.forgetting),
        report.answered,
        report.failed,
    )


def _numbers(versions: Sequence[Version], kind: str) -> str | None:
    of_kind = [v for v in versions if v.kind == kind]
    return ", ".join(f"{v.version}{f' {v.state}' if _is_out(v) else ''}" for v in of_kind) or None


def _is_out(version: Version) -> bool:
    """Whether it cannot take over: a provisional version that is deleted has done its work."""
    return version.state in ("held", "damaged")


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f} s"
