import pytest

import everclass
from everclass.errors import PROBLEMS, EverclassError, Problem, ServerFault, Unreadable, WrongContent, problem
from everclass.exits import MEANINGS, Exit, exit_code


def test_a_problem_keeps_every_field_that_the_server_gave() -> None:
    body = {
        "type": "https://example.org/wrong",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "nothing was kept",
        "errors": [{"field": "images[3]", "message": "is cut off"}, {"field": "labels[0]", "message": "is empty"}],
    }
    error = problem(422, body, 2.5)
    assert isinstance(error, WrongContent)
    assert (error.type, error.title, error.detail, error.retry_after_s) == (
        "https://example.org/wrong",
        "Unprocessable Content",
        "nothing was kept",
        2.5,
    )
    assert [(one.field, one.message) for one in error.errors] == [
        ("images[3]", "is cut off"),
        ("labels[0]", "is empty"),
    ]
    assert str(error) == "Unprocessable Content (422): nothing was kept: images[3]: is cut off; labels[0]: is empty"


def test_what_the_detail_says_is_not_said_again() -> None:
    deleted = {"title": "Conflict", "detail": "version 2 is deleted"}
    deleted["errors"] = [{"field": "version", "message": "version 2 is deleted"}]  # type: ignore[assignment]
    assert str(problem(409, deleted)) == "Conflict (409): version 2 is deleted"
    words = {"detail": "label: is empty", "errors": [{"field": "label", "message": "is empty"}]}
    assert str(problem(422, words)).endswith("(422): label: is empty")


def test_a_problem_with_images_calls_them_by_their_names() -> None:
    errors = [{"field": f"images[{n}]", "message": "is cut off"} for n in (0, 1)]
    errors.append({"field": "name", "message": "too long"})
    told = problem(422, {"detail": "images[0]: is cut off; images[1]: is cut off", "errors": errors}, 3.0)
    said = told.of_images(["cat/1.png", None], before=10)
    assert isinstance(said, WrongContent) and said.retry_after_s == 3.0
    assert said.detail == "cat/1.png: is cut off; images[11]: is cut off"
    assert [(one.field, one.image) for one in said.errors] == [
        ("images[10]", "cat/1.png"),
        ("images[11]", None),
        ("name", None),
    ]


def test_a_problem_with_many_errors_says_how_many_it_left_out() -> None:
    errors = [{"field": f"images[{number}]", "message": "is broken"} for number in range(8)]
    assert str(problem(422, {"errors": errors})).endswith("images[4]: is broken; and 3 more")


@pytest.mark.parametrize(
    ("status", "kind"), [*PROBLEMS.items(), (418, Unreadable), (500, ServerFault), (599, ServerFault)]
)
def test_each_status_is_its_own_leaf_of_the_tree(status: int, kind: type[Problem]) -> None:
    error = problem(status, {"errors": "not a list"})
    assert type(error) is kind
    assert isinstance(error, EverclassError)
    assert error.errors == ()


def test_every_error_that_a_user_may_catch_is_exported() -> None:
    leaves = {kind for kind in _below(EverclassError) if kind.__module__ == "everclass.errors"}
    assert {kind.__name__ for kind in leaves} <= set(everclass.__all__)


def test_every_error_has_an_exit_code_with_a_meaning() -> None:
    assert set(MEANINGS) == set(Exit)
    assert exit_code(problem(404, {})) == Exit.NOT_FOUND
    assert exit_code(problem(503, {})) == Exit.LATER
    assert exit_code(problem(500, {})) == Exit.FAILED


def _below(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(_below(child) for child in kind.__subclasses__()))
