"""What a person sees on the terminal, and what a script reads in its place."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal

import click
from pydantic import BaseModel
from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from everclass.multipart import Sent
from everclass.results import Task

NOT_SHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What a terminal would obey instead of showing it; some words in a table come from whoever was refused."""


def show_json(value: BaseModel | Sequence[BaseModel] | dict[str, object]) -> None:
    """One JSON document on stdout."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    elif not isinstance(value, dict):
        click.echo(json.dumps([item.model_dump(mode="json") for item in value], indent=2, ensure_ascii=False))
        return
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout; a line a row, words in full when stdout is no terminal."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(word(cell) for cell in row))
    width = None if sys.stdout.isatty() else 200
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)


def word(value: object) -> str:
    """A value as one reads it in a table: nothing as –, a time to the second in UTC, a list with commas."""
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return moment(value, "seconds")
    if isinstance(value, list | tuple):
        return ", ".join(word(part) for part in value) or "–"
    return NOT_SHOWN.sub("?", str(value))


def moment(at: datetime, timespec: Literal["seconds", "microseconds"] = "microseconds") -> str:
    """A time in UTC as the server takes it again (RFC 3339), by default exactly."""
    return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def field_rows(name: str, value: object) -> Iterator[tuple[str, object]]:
    """A field as rows of a table: an object's parts each in one, those of a list by the `name` that they have."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from field_rows(f"{name}.{key}", part)
    elif isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        for number, part in enumerate(value, start=1):
            figures = [f"{key} {_short(one)}" for key, one in part.items() if key != "name" and one is not None]
            yield f"{name}.{part.get('name', number)}", ", ".join(figures)
    elif value is not None:
        yield name, value


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else word(value)


def percent(rate: float | None) -> str:
    """A rate of 0–1 in percent."""
    return "–" if rate is None else f"{100 * rate:.1f} %"


@contextmanager
def upload_bar(name: str) -> Iterator[Sent]:
    """A bar of the bytes that went up, on stderr and only on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with _progress(*columns) as progress:
        bar = progress.add_task(f"sending {name}", total=None)
        yield lambda sent, total: progress.update(bar, completed=sent, total=total)


@contextmanager
def count_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is told how many of how many are done, on stderr and only on a terminal."""
    with _progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()) as progress:
        bar = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


class TaskBar:
    """A bar of a task's progress, phase and time left, on stderr and only on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar = progress.add_task("waiting", total=1.0)

    def __call__(self, task: Task) -> None:
        self._progress.update(self._bar, description=task_words(task), completed=task.progress or 0.0)


@contextmanager
def task_bar() -> Iterator[TaskBar]:
    """A bar that is called with the task each time it changes."""
    with _progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()) as progress:
        yield TaskBar(progress)


def task_words(task: Task) -> str:
    """Where a task is, in a few words."""
    if task.state == "queued" and task.position:
        return f"task {task.id}: queued, number {task.position}"
    if task.state != "learning":
        return f"task {task.id}: {task.state}"
    left = f", {task.eta_s:.0f} s left" if task.eta_s is not None else ""
    epoch = f" epoch {len(task.epochs) + 1}" if task.phase == "training" else ""
    return f"task {task.id}: {task.phase or 'starting'}{epoch}{left}"


def _progress(*columns: TextColumn | BarColumn | DownloadColumn | TaskProgressColumn | TimeRemainingColumn) -> Progress:
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty())
