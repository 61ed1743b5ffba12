"""The order of classes is the reference's, tasks may be of any size, and validation is never learned from."""

from pathlib import Path

import numpy as np
import pytest

from stream.errors import InvalidContent
from stream.protocols import PROTOCOLS, Dataset, Examples, Part, Schedule, class_order, read_dataset, split_tasks
from stream.protocols.dataset import Found, made_of
from tests.stream.protocols import made


@pytest.mark.parametrize(
    ("classes", "seed", "first"),
    [
        (100, 1993, [68, 56, 78, 8, 23]),
        (100, 1996, [35, 18, 40, 85, 63]),
        (100, 1997, [88, 77, 36, 54, 92]),
        (200, 1993, [168, 136, 51, 9, 183]),
        (200, 1996, [92, 182, 15, 79, 26]),
        (200, 1997, [76, 153, 53, 4, 197]),
        (196, 1993, [59, 134, 162, 9, 42]),
        (196, 1996, [173, 6, 195, 94, 134]),
        (196, 1997, [86, 150, 52, 4, 186]),
    ],
)
def test_the_references_class_orders(classes: int, seed: int, first: list[int]) -> None:
    order = class_order(seed, classes)
    assert order[:5].tolist() == first
    assert sorted(order.tolist()) == list(range(classes))


def some_dataset(classes: int = 7, each: int = 10) -> Dataset:
    labels_N = np.tile(np.arange(classes), each).astype(np.int64)

    def examples(value: int) -> Examples:
        pixels = [np.full((4, 4, 3), (value + row // classes) % 256, np.uint8) for row in range(len(labels_N))]
        return Examples(pixels, labels_N, np.zeros(len(labels_N), np.int64))

    names = tuple(f"class {one}" for one in range(classes))
    return Dataset("made", names, ("",), examples(0), examples(100))


def test_tasks_of_very_unequal_sizes() -> None:
    tasks = split_tasks(some_dataset(), Schedule(sizes=(4, 1, 2)), 1993)
    assert [len(task.classes) for task in tasks] == [4, 1, 2]
    assert [one for task in tasks for one in task.classes] == class_order(1993, 7).tolist()
    for task in tasks:
        assert task.train.classes_N.tolist() == list(np.repeat(task.classes, 10))
        assert [task.train.pixels(row)[0, 0, 0] for row in range(10)] == list(range(10))


def test_equal_parts_and_sizes_that_leave_some_over() -> None:
    assert [len(task.classes) for task in split_tasks(some_dataset(), Schedule(tasks=3), 1)] == [3, 2, 2]
    assert [len(task.classes) for task in split_tasks(some_dataset(), Schedule(sizes=(2, 2)), 1)] == [2, 2]


@pytest.mark.parametrize(
    "schedule",
    [Schedule(sizes=(4, 4)), Schedule(sizes=(3, 0)), Schedule(sizes=()), Schedule(tasks=8), Schedule(tasks=0)],
)
def test_schedules_that_do_not_fit_are_refused(schedule: Schedule) -> None:
    with pytest.raises(InvalidContent):
        split_tasks(some_dataset(), schedule, 1993)


def test_a_domain_is_a_task_that_brings_every_class_again(tmp_path: Path) -> None:
    dataset = read_dataset("pacs", made.pacs(tmp_path))
    tasks = split_tasks(dataset, PROTOCOLS["pacs"].schedule, 1993)
    assert {task.name for task in tasks} == {"art_painting", "sketch"}
    assert all(sorted(task.classes) == [0, 1] and len(task.test) == 4 for task in tasks)
    by_class = split_tasks(dataset, Schedule(tasks=2), 1993)
    assert [len(task.train) for task in by_class] == [16, 16]


def test_the_usual_schedules_cover_every_class() -> None:
    for name in ("cifar100", "imagenet_r", "cub200", "cars196"):
        spec = PROTOCOLS[name]
        assert spec.classes is not None
        sizes = spec.schedule.sizes or (spec.classes // 10,) * 10
        assert sum(sizes) == spec.classes and len(sizes) == 10


def test_the_first_images_of_each_class_are_taken() -> None:
    part = Part(train_per_class=3, test_per_class=2).of(some_dataset())
    assert np.bincount(part.train.classes_N).tolist() == [3] * 7
    assert sorted({int(part.train.pixels(row)[0, 0, 0]) for row in range(21)}) == [0, 1, 2]
    assert sorted({int(part.test.pixels(row)[0, 0, 0]) for row in range(14)}) == [100, 101]


def of_domains() -> Dataset:
    """Two classes with six training images in the first domain, four in the second, one in the third."""
    domains = ["x"] * 6 + ["y"] * 4 + ["z"]
    found = [Found(bytes([row]), label, domain) for label in "ab" for row, domain in enumerate(domains)]
    return made_of("made", found, found, Path())


def counts(examples: Examples) -> list[list[int]]:
    """Of each class in each domain."""
    return [np.bincount(examples.domains_N[examples.classes_N == one], minlength=3).tolist() for one in (0, 1)]


def test_so_many_images_of_a_class_are_of_all_its_domains_together() -> None:
    part = Part(train_per_class=4, test_per_class=2).of(of_domains())
    assert counts(part.train) == [[2, 1, 1]] * 2 and counts(part.test) == [[1, 1, 0]] * 2
    judged = Part(train_per_class=6, test_per_class=4, evaluation="validation").of(of_domains())
    assert counts(judged.train) == [[3, 2, 1]] * 2 and counts(judged.test) == [[3, 1, 0]] * 2


def test_where_a_task_is_a_domain_so_many_are_of_each_class_in_it() -> None:
    part = Part(train_per_class=3, test_per_class=2, each_domain=True).of(of_domains())
    assert counts(part.train) == [[3, 3, 1]] * 2 and counts(part.test) == [[2, 2, 1]] * 2


@pytest.mark.parametrize("each", [10, 320])
def test_validation_judges_by_training_images_that_are_not_learned_from(each: int) -> None:
    whole = some_dataset(2, each)
    part = Part(test_per_class=4, evaluation="validation").of(whole)
    learned = {id(source) for source in part.train.sources}
    judged = {id(source) for source in part.test.sources}
    assert not learned & judged and not judged & {id(source) for source in whole.test.sources}
    assert len(learned) + len(judged) == len(whole.train)
    first = np.flatnonzero(whole.train.classes_N == 0)[250 if each == 320 else 6]
    assert id(whole.train.sources[first]) == id(part.test.sources[0])
    limited = Part(train_per_class=5, evaluation="validation").of(whole)
    assert np.bincount(limited.train.classes_N).tolist() == [5, 5]


def test_a_class_without_training_images_never_comes(tmp_path: Path) -> None:
    made.tree(tmp_path / "train", {"a": 3})
    made.tree(tmp_path / "test", {"a": 1, "b": 2})
    dataset = read_dataset("folder", tmp_path)
    (task,) = split_tasks(dataset, Schedule(tasks=1), 1993)
    assert task.classes == (0,) and len(task.test) == 1
    with pytest.raises(InvalidContent, match="no class with training images"):
        split_tasks(dataset, Schedule(tasks=2), 1993)


def test_validation_needs_images_to_spare() -> None:
    with pytest.raises(InvalidContent, match="to spare"):
        Part(evaluation="validation").of(some_dataset(3, 1))
