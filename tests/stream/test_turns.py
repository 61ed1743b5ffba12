"""Work in turn: who brings little waits for one piece of whoever brings much."""

import threading
from concurrent.futures import CancelledError

import pytest

from stream.turns import Turns


def test_askers_take_turns_and_each_is_served_in_order() -> None:
    turns, begun, go_on, order = Turns(1, "turns"), threading.Event(), threading.Event(), []

    def hold() -> None:
        begun.set()
        assert go_on.wait(10)

    held = turns.submit("first", hold)
    assert begun.wait(10)
    many = [turns.submit("many", order.append, f"many {number}") for number in range(5)]
    few = [turns.submit("few", order.append, f"few {number}") for number in range(2)]
    go_on.set()
    for future in [held, *many, *few]:
        future.result(10)
    assert order == ["many 0", "few 0", "many 1", "few 1", "many 2", "many 3", "many 4"]
    turns.shutdown()


def test_what_goes_wrong_reaches_who_asked() -> None:
    turns = Turns(2, "turns")
    assert turns.submit("a", divmod, 7, 2).result(10) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        turns.submit("a", divmod, 7, 0).result(10)
    turns.shutdown()


def test_what_has_not_begun_is_cancelled_at_the_end() -> None:
    turns, begun, go_on = Turns(1, "turns"), threading.Event(), threading.Event()

    def hold() -> str:
        begun.set()
        assert go_on.wait(10)
        return "done"

    held = turns.submit("a", hold)
    assert begun.wait(10)
    waiting = turns.submit("a", hold)
    ending = threading.Thread(target=turns.shutdown)
    ending.start()
    with pytest.raises(CancelledError):
        waiting.result(10)
    go_on.set()
    ending.join(10)
    assert held.result(10) == "done" and not ending.is_alive()
