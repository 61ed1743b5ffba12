"""The two state machines and the tree of errors."""

import pytest

from stream import errors
from stream.errors import FieldError, InvalidContent, StreamError
from stream.tasks import TRANSITIONS as TASK_TRANSITIONS
from stream.tasks import Item, TaskState, image_key, new_task_id
from stream.versions import TRANSITIONS as VERSION_TRANSITIONS
from stream.versions import VersionState, lost_and_won

LIFE_OF_A_TASK = {
    "open": {"queued", "cancelled"},
    "queued": {"learning", "cancelled", "failed"},
    "learning": {"done", "failed", "cancelled", "queued"},
    "done": set(),
    "failed": {"queued"},
    "cancelled": {"queued"},
}

LIFE_OF_A_VERSION = {
    "ready": {"held", "damaged", "deleted"},
    "held": {"ready", "damaged", "deleted"},
    "damaged": {"ready", "held", "deleted"},
    "deleted": set(),
}


@pytest.mark.parametrize("state", TaskState)
def test_a_task_lives_as_it_is_drawn(state: TaskState) -> None:
    assert {other for other in TaskState if state.may_become(other)} == LIFE_OF_A_TASK[state]
    assert state.finished == (state in ("done", "failed", "cancelled"))


@pytest.mark.parametrize("state", VersionState)
def test_a_version_lives_as_it_is_drawn(state: VersionState) -> None:
    assert {other for other in VersionState if state.may_become(other)} == LIFE_OF_A_VERSION[state]
    assert state.servable == (state in ("ready", "held"))


def test_every_state_has_its_place_in_the_tables() -> None:
    assert set(TASK_TRANSITIONS) == set(TaskState)
    assert set(VERSION_TRANSITIONS) == set(VersionState)


def test_ids_differ_and_can_be_part_of_a_path() -> None:
    ids = {new_task_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(id.isalnum() and id.isascii() for id in ids)


def test_an_image_lies_under_its_task() -> None:
    item = Item(0, "a" * 64, "cat", None, 1, "b" * 64, None)
    assert item.key("t1") == image_key("t1", "a" * 64) == "tasks/t1/" + "a" * 64


def test_labels_lost_and_won_keep_the_order_of_their_version() -> None:
    assert lost_and_won(["c", "a", "b"], ["d", "a", "c2"]) == (("c", "b"), ("d", "c2"))
    assert lost_and_won([], ["a"]) == ((), ("a",))


def test_many_errors_are_said_in_one_line() -> None:
    several = [FieldError(f"images[{place}]", "broken") for place in range(5)]
    assert str(InvalidContent(several)) == "images[0]: broken; images[1]: broken; images[2]: broken; and 2 more"
    assert str(InvalidContent.of("labels", "empty")) == "labels: empty"


def test_every_error_is_a_leaf_of_the_tree() -> None:
    leaves = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(leaves) == 13
    for leaf in leaves:
        assert leaf is StreamError or leaf.__bases__ == (StreamError,)
        assert leaf is StreamError or leaf.__name__ in str(errors.__doc__)
