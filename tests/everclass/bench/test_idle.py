"""A modifier that changes nothing is found, and none that changes something."""

import pytest

from everclass.bench.idle import idle
from tests.everclass.bench.lessons import course

TWO_TASKS = course((0, 1), (2, 3))


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
    ],
)
def test_what_changes_something_is_not_found(name: str) -> None:
    assert idle(name, [TWO_TASKS]) == []


def test_what_a_course_has_no_place_for_is_found() -> None:
    assert idle("slca+drift+slower", [course((0, 1, 2, 3))]) == ["drift", "slower"]
    assert idle("fsa+ncm+drift", [course((0,), (1, 2, 3))]) == []
    assert idle("slca+turned", [course((0, 1), (0, 1))]) == []
