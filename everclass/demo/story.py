"""The story: learn task by task under steady predictions, look back, go back, learn on from there."""

import sys
from collections.abc import Sequence

import click

from everclass.client import Client
from everclass.demo.pictures import Lesson
from everclass.demo.predictor import Expectation, Predictor, in_batches
from everclass.demo.report import Said, TaskReport, accuracies, forgetting, show_reports
from everclass.errors import EverclassError
from everclass.results import Task, Version
from everclass.showing import task_bar, task_words

BATCH_IMAGES = 32
SAME_SCORE = 2e-3
"""Scores of one version may differ by this much from run to run (bf16; design, invariant 6)."""
GO_BACK_TO = 3


class NotAsPromised(EverclassError):
    """The demonstration saw something that a server must never do."""


class Story:
    """What happens in the demonstration, one method a chapter; says on stdout what it does."""

    def __init__(self, client: Client, predictor: Predictor, lessons: Sequence[Lesson]) -> None:
        self._client = client
        self._predictor = predictor
        self._lessons = lessons
        self._reports: list[TaskReport] = []

    def tell(self) -> None:
        """All of it; raises NotAsPromised where the server did not keep its word."""
        for number, lesson in enumerate(self._lessons, 1):
            self._reports.append(self._teach(str(number), lesson, list(self._lessons[:number])))
        show_reports(self._reports)
        back = min(GO_BACK_TO, len(self._lessons) - 1)
        self._go_back(self._reports[back - 1], list(self._lessons[:back]))
        self._learn_on(back)
        if self._predictor.failures:
            raise NotAsPromised(f"{len(self._predictor.failures)} predictions failed: {self._predictor.failures[0]}")

    def _teach(self, name: str, lesson: Lesson, seen: Sequence[Lesson]) -> TaskReport:
        answered, failed = self._predictor.answered, len(self._predictor.failures)
        accepted = self._client.learn_images(lesson.taught, name=f"demo task {name}")
        expectation = self._predictor.expect(lesson.asked)
        click.echo(f"\ntask {name}: {accepted.images} images of {', '.join(lesson.labels)} sent and safe")
        task = self._follow(accepted)
        versions = tuple(self._client.version(number) for number in task.versions)
        said = self._ask(seen)
        rates = accuracies(seen, said)
        report = TaskReport(
            name=name,
            lesson=lesson,
            versions=versions,
            right_after_s=expectation.right_after_s,
            final_after_s=_final_after_s(expectation, versions),
            accuracy=_accuracy(seen, said),
            accuracies=rates,
            forgetting=forgetting([one.accuracies for one in self._reports[: len(seen) - 1]], rates),
            answered=self._predictor.answered - answered,
            failed=len(self._predictor.failures) - failed,
            said=said,
        )
        click.echo(
            f"task {name}: version {said.version} serves, {100 * report.accuracy:.1f} % right over all classes seen"
        )
        return report

    def _follow(self, task: Task) -> Task:
        """Progress as it happens: a bar on a terminal, a line for each phase elsewhere."""
        if sys.stderr.isatty():
            with task_bar() as bar:
                return self._client.wait_for_task(task.id, on_progress=bar)
        said: set[str | None] = set()

        def say(now: Task) -> None:
            if now.phase not in said:
                said.add(now.phase)
                click.echo(f"  {task_words(now)}")

        return self._client.wait_for_task(task.id, on_progress=say)

    def _ask(self, lessons: Sequence[Lesson]) -> Said:
        images = [image for lesson in lessons for image in lesson.asked]
        batches = in_batches(images, BATCH_IMAGES)
        return Said.of([self._client.predict([image.image for image in batch]) for batch in batches])

    def _go_back(self, report: TaskReport, seen: Sequence[Lesson]) -> None:
        target = report.said.version
        move = self._client.rollback(version=target, reason="the demonstration goes back")
        click.echo(
            f"\nrolled back from version {move.previous} to version {move.version}, lost: {', '.join(move.lost)}"
        )
        said = self._ask(seen)
        labels, score = said.differences(report.said)
        click.echo(
            f"asked again about {len(said.labels)} images: {len(said.labels) - labels} have the label that "
            f"version {target} gave then, scores differ by {score:.1e} at most"
        )
        if said.version != target or labels or score > SAME_SCORE:
            raise NotAsPromised(f"the answers after the rollback are not those of version {target}")

    def _learn_on(self, back: int) -> None:
        lesson = self._lessons[-1]
        report = self._teach(f"{len(self._lessons)} from version {back}", lesson, [*self._lessons[:back], lesson])
        base = report.versions[-1].parent
        known = ", ".join(sorted(known.label for known in self._client.classes()))
        click.echo(f"\nlearned on from version {base}; classes in force: {known}")
        show_reports([report])


def _accuracy(lessons: Sequence[Lesson], said: Said) -> float:
    truth = [image.label for lesson in lessons for image in lesson.asked]
    return sum(label == true for label, true in zip(said.labels, truth, strict=True)) / len(truth)


def _final_after_s(expectation: Expectation, versions: Sequence[Version]) -> float | None:
    final = [version.version for version in versions if version.kind == "final"]
    return expectation.versions_after_s.get(final[-1]) if final else None
