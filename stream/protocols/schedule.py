"""How the classes (or domains) of a data set come as tasks: the class order of a seed, cut into parts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.errors import InvalidContent
from stream.protocols.dataset import Dataset, Examples

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Schedule:
    """`sizes` are classes per task (what is left over never comes); else `tasks` equal parts, the first ones larger.

    `by_domain` makes each domain a task that brings all its classes.
    """

    sizes: tuple[int, ...] | None = None
    tasks: int | None = None
    by_domain: bool = False


@dataclass(frozen=True, eq=False)
class TaskExamples:
    """One task: its classes in order of arrival, and their images class by class, each in file order.

    A class without training images is left out, and so are its test images.
    """

    name: str
    classes: tuple[int, ...]
    train: Examples
    test: Examples


def class_order(seed: int, classes: int) -> Ints:
    """`numpy.random.seed(seed); numpy.random.permutation(classes)`, as the SLCA reference orders classes."""
    return np.random.RandomState(seed).permutation(classes).astype(np.int64)


def split_tasks(dataset: Dataset, schedule: Schedule, seed: int) -> list[TaskExamples]:
    """The tasks of one seed. Raises InvalidContent where the schedule does not fit the data set."""
    if schedule.by_domain:
        order = class_order(seed, len(dataset.domains))
        return [_of_domain(dataset, int(domain), seed) for domain in order]
    order = class_order(seed, len(dataset.classes))
    return [
        _of_classes(dataset, f"task {number}", part_B) for number, part_B in enumerate(_parts(order, schedule), start=1)
    ]


def _parts(order: Ints, schedule: Schedule) -> Sequence[Ints]:
    if schedule.sizes is None:
        tasks = 1 if schedule.tasks is None else schedule.tasks
        if tasks < 1:
            raise InvalidContent.of("tasks", f"{tasks} tasks are too few")
        if tasks > len(order):
            raise InvalidContent.of("tasks", f"{tasks} tasks of {len(order)} classes leave some empty")
        return np.array_split(order, tasks)
    if min(schedule.sizes, default=0) < 1 or sum(schedule.sizes) > len(order):
        raise InvalidContent.of("sizes", f"tasks of {schedule.sizes} classes do not fit {len(order)} classes")
    ends = np.cumsum(schedule.sizes)
    return np.split(order[: ends[-1]], ends[:-1])


def _of_classes(dataset: Dataset, name: str, classes_B: Ints) -> TaskExamples:
    classes_B = classes_B[np.isin(classes_B, dataset.train.classes_N)]
    if not len(classes_B):
        raise InvalidContent.of("tasks", f"{name} has no class with training images")
    return TaskExamples(
        name, tuple(map(int, classes_B)), _by_class(dataset.train, classes_B), _by_class(dataset.test, classes_B)
    )


def _of_domain(dataset: Dataset, domain: int, seed: int) -> TaskExamples:
    train, test = (part.of(np.flatnonzero(part.domains_N == domain)) for part in (dataset.train, dataset.test))
    present = set(train.classes_N.tolist())
    classes_B = np.array([one for one in class_order(seed, len(dataset.classes)) if one in present], dtype=np.int64)
    name = dataset.domains[domain]
    return TaskExamples(name, tuple(map(int, classes_B)), _by_class(train, classes_B), _by_class(test, classes_B))


def _by_class(examples: Examples, classes_B: Ints) -> Examples:
    rows = [np.flatnonzero(examples.classes_N == one) for one in classes_B]
    return examples.of(np.concatenate(rows).astype(np.int64))
