import time
from collections.abc import Callable
from typing import Any

from everclass.demo.predictor import Predictor, in_batches
from everclass.images import LabelledImage
from tests.everclass.scripted import DROP, Reply, scripted

CAT, DOG = LabelledImage("cat", b"C"), LabelledImage("dog", b"D")


def answer(label: str, version: int) -> Reply:
    said: dict[str, Any] = {"label": label, "score": 0.9, "known": True, "top": []}
    return Reply(200, {"version": version, "kind": "final", "predictions": [said]})


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.005)


def test_the_first_right_answer_is_noted_and_wrong_ones_are_not() -> None:
    replies = [Reply(503), answer("cat", 1), answer("cat", 1), answer("dog", 2), answer("dog", 3)]
    with scripted(*replies) as server, Predictor(server.url) as predictor:
        expectation = predictor.expect([DOG])
        until(lambda: predictor.answered >= 5)
    assert predictor.failures == []
    assert sorted(expectation.versions_after_s) == [1, 2, 3]
    assert expectation.right_after_s == expectation.versions_after_s[2]


def test_once_there_was_an_answer_every_refusal_is_a_failure() -> None:
    with (
        scripted(answer("cat", 1), Reply(503), Reply(500), Reply(200, DROP)) as server,
        Predictor(server.url) as predictor,
    ):
        predictor.expect([CAT])
        until(lambda: len(predictor.failures) >= 3)
    assert predictor.answered == 1
    assert [("503" in predictor.failures[0]), ("500" in predictor.failures[1])] == [True, True]
    assert "no answer" in predictor.failures[2]


def test_every_second_question_is_about_the_newest_lesson() -> None:
    with scripted(answer("cat", 1)) as server, Predictor(server.url) as predictor:
        predictor.expect([CAT])
        predictor.expect([DOG])
        until(lambda: predictor.answered >= 12)
    asked = [b"\r\n\r\nD\r\n" in request.body for request in server.asked[2:12]]
    assert 5 <= sum(asked) < 10


def test_batches_are_in_order_and_whole() -> None:
    images = [CAT] * 5
    assert [len(batch) for batch in in_batches(images, 2)] == [2, 2, 1]
