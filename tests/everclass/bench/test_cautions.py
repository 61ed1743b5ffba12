"""What changes nothing is told, and nothing that changes something."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from everclass.bench.cautions import Cautions, idle
from everclass.bench.chain import Extras
from everclass.bench.course import Course
from everclass.bench.request import BenchRequest
from stream.protocols import Part, read_dataset
from tests.everclass.bench.lessons import course
from tests.stream.protocols import made

TWO_TASKS = course((0, 1), (2, 3))
Told = Callable[..., list[str]]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """What is told of a request over a folder of four classes."""
    folder = made.tree(tmp_path / "data", {f"class {number}": 3 for number in range(4)})

    def cautions(request: BenchRequest, of: Course = TWO_TASKS, extras: Extras | None = None) -> list[str]:
        dataset = read_dataset("folder", folder, Part())
        return Cautions(replace(request, data=folder), dataset, [of]).of(extras or Extras())

    return cautions


def asking(*methods: str, protocol: str = "folder", **options: object) -> BenchRequest:
    return BenchRequest(protocol, Path(), methods, **options)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("slca+turned", ["turned"]),
        ("slca+ca", ["ca"]),
        ("slca+ca+warm", ["ca"]),
        ("slca+drift+drift", ["drift"]),
        ("sl+averaging+cofima", ["averaging"]),
        ("frozen+slower", ["slower"]),
        ("frozen+drift", ["drift"]),
        ("frozen+drift+turned", ["drift", "turned"]),
        ("ncm+slower", ["slower"]),
        ("fsa+ncm+slower+drift", ["slower", "drift"]),
        ("gdumb+slower", ["slower"]),
        ("joint+slower+drift+turned", ["slower", "drift", "turned"]),
        ("ease+drift+turned", ["drift", "turned"]),
        ("aper+drift", ["drift"]),
        ("ranpac+ca+m2000", ["m2000"]),
    ],
)
def test_what_changes_nothing_is_found(name: str, found: list[str]) -> None:
    assert idle(name, [TWO_TASKS]) == found


@pytest.mark.parametrize(
    "name",
    [
        "sl",
        "sl+lda",
        "sl+ca",
        "joint+ca",
        "frozen+warm+views",
        "slca+drift+turned+slower+views",
        "gdumb+drift",
        "ranpac+m2000",
        "slca+averaging",
        "joint+ca+spread",
        "lora+warm+views+spread",
        "ease+ca",
        "aper+ca_shrink",
    ],
)
def test_what_changes_something_is_not_found(name: str) -> None:
    assert idle(name, [TWO_TASKS]) == []


def test_what_a_course_has_no_place_for_is_found() -> None:
    assert idle("slca+drift+slower", [course((0, 1, 2, 3))]) == ["drift", "slower"]
    assert idle("fsa+ncm+drift", [course((0,), (1, 2, 3))]) == []
    assert idle("slca+turned", [course((0, 1), (0, 1))]) == []


def test_alignment_of_a_single_task_is_found_where_it_begins_after_the_first() -> None:
    alone = course((0, 1, 2, 3))
    assert [idle(f"sl+{one}", [alone]) for one in ("ca", "ca_plain", "ca_shrink")] == [
        ["ca"],
        ["ca_plain"],
        ["ca_shrink"],
    ]
    assert idle("ease+ca", [alone]) == ["ca"]
    assert idle("sl+warm", [alone]) == idle("joint+ca", [TWO_TASKS]) == idle("joint+ca_shrink", [TWO_TASKS]) == []


@pytest.mark.parametrize("name", ["l2p", "dualprompt", "coda_prompt", "ease", "slca++", "lda", "ranpac_frozen"])
def test_a_milestone_changes_nothing_on_a_cosine_on_a_constant_rate_or_without_stage_1(told: Told, name: str) -> None:
    deaf = asking(name, milestones=(30,))
    assert told(deaf) == [f"--milestone changes nothing for {name}"]
    assert told(replace(deaf, milestones=(40,))) == told(replace(deaf, milestones=())) == []
    assert told(replace(deaf, methods=(name, "slca"))) == []


def test_slca_plus_plus_hears_how_many_milestones_there_are(told: Told) -> None:
    request = asking("slca++", epochs=90, milestones=(60, 80))
    assert told(request) == []
    assert told(replace(request, backbone_lr=1e-3)) == ["--backbone-lr moves none of slca++"]
    assert told(replace(request, methods=("slca++", "ranpac", "frozen"), milestones=(80,))) == []


def test_epochs_and_batches_are_told_where_nothing_is_trained(told: Told) -> None:
    request = asking("ncm", "lda", epochs=3, batch=8)
    assert told(request) == ["--epochs changes nothing for ncm, lda", "--batch changes nothing for ncm, lda"]
    assert told(replace(request, methods=("ncm", "fixed"))) == []


def test_measures_are_told_where_there_is_nothing_to_measure(told: Told) -> None:
    unknown = Extras(unknown=True)
    none = ["--unknown has no images of classes to come: every task brings some that the first has brought"]
    assert told(asking("slca"), course((0, 1, 2, 3), (0, 1)), unknown) == none
    assert told(asking("slca"), course((0, 1, 2, 3)), unknown) == none
    assert told(asking("joint"), TWO_TASKS, unknown) == [
        "--unknown has no images of classes to come: joint learns all tasks as one"
    ]
    assert told(asking("slca", "joint"), TWO_TASKS, unknown) == []
    assert told(asking("slca"), course((0, 1), (1, 2), (2, 3)), unknown) == []
    oracle = Extras(measures=("oracle",))
    assert told(asking("sl", "slca", "ranpac"), TWO_TASKS, oracle) == [
        "--measure oracle says nothing of sl, ranpac: no class statistics answer there"
    ]
    assert told(asking("sl"), TWO_TASKS, Extras(measures=("probe",))) == []


def test_classes_that_come_in_no_task_are_told(told: Told) -> None:
    assert told(asking("slca"), course((0, 1), (2,))) == ["1 of 4 classes come in no task"]


def test_another_number_of_classes_than_the_protocols_is_told(told: Told) -> None:
    (found,) = told(asking("slca", protocol="imagenet_r"))
    assert found.startswith("imagenet_r has 200 classes, and there are 4 in ") and found.endswith(
        ": is that its folder?"
    )
