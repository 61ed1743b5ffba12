"""As many versions as allowed are loaded; none that is used goes, and none is loaded twice."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.predicting.shelf import BEYOND, Shelf


class Model:
    closed = False

    def close(self) -> None:
        self.closed = True


class Version:
    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.model = Model()


class Library:
    """Loads versions, slowly if told so, and remembers which."""

    def __init__(self, seconds: float = 0) -> None:
        self.loaded: list[Version] = []
        self.seconds = seconds
        self.lock = threading.Lock()
        self.broken = {"broken"}

    def load(self, digest: str) -> Version:
        time.sleep(self.seconds)
        if digest in self.broken:
            raise OSError("broken")
        version = Version(digest)
        with self.lock:
            self.loaded.append(version)
        return version


def test_the_least_recently_used_version_goes_first() -> None:
    library = Library()
    shelf = Shelf(library.load, 2)
    for digest in ("a", "b", "a", "c"):
        shelf.give_back(shelf.take(digest))
    assert shelf.digests == ("a", "c")
    assert [version.digest for version in library.loaded if version.model.closed] == ["b"]


def test_a_version_in_use_stays_until_it_is_given_back() -> None:
    shelf = Shelf(Library().load, 1)
    used = shelf.take("a")
    other = shelf.take("b")
    assert shelf.digests == ("a", "b")
    assert not used.model.closed
    shelf.give_back(used)
    assert used.model.closed
    assert shelf.digests == ("b",)
    shelf.give_back(other)
    assert not other.model.closed


def test_the_pinned_version_stays_though_nobody_uses_it() -> None:
    shelf = Shelf(Library().load, 1)
    shelf.give_back(shelf.take("a"))
    shelf.pin("a")
    for digest in ("b", "c"):
        shelf.give_back(shelf.take(digest))
    assert shelf.digests == ("a",)


def test_many_who_want_the_same_version_load_it_once() -> None:
    library = Library(0.05)
    shelf = Shelf(library.load, 2)
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(shelf.take, ["a"] * 8))
    assert len(library.loaded) == 1
    assert all(version is taken[0] for version in taken)


def test_two_versions_are_loaded_at_the_same_time() -> None:
    shelf = Shelf(Library(0.3).load, 2)
    start = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(shelf.take, ["a", "b"]))
    assert time.monotonic() - start < 0.55


def test_a_failed_load_leaves_nothing_behind_and_may_be_tried_again() -> None:
    shelf = Shelf(Library().load, 2)
    for _ in range(2):
        with pytest.raises(OSError, match="broken"):
            shelf.take("broken")
    assert shelf.digests == ()
    assert shelf.take_if_loaded("broken") is None


def test_closing_closes_every_version() -> None:
    library = Library()
    shelf = Shelf(library.load, 3)
    for digest in "abc":
        shelf.give_back(shelf.take(digest))
    shelf.close()
    assert all(version.model.closed for version in library.loaded)


def test_an_outdated_version_is_replaced_and_goes_once_nobody_uses_it() -> None:
    library = Library()
    shelf = Shelf(library.load, 2)
    before, other = shelf.take("a"), shelf.take("b")
    shelf.renew(lambda version: version is before)
    after = shelf.take("a")
    assert after is not before
    assert not before.model.closed and not other.model.closed
    shelf.give_back(before)
    assert before.model.closed
    shelf.give_back(after)
    assert not after.model.closed
    assert shelf.digests == ("b", "a")


def test_an_outdated_version_that_nobody_uses_goes_at_once() -> None:
    library = Library()
    shelf = Shelf(library.load, 2)
    shelf.give_back(shelf.take("a"))
    shelf.renew(lambda version: True)
    assert [version.model.closed for version in library.loaded] == [True, False]


def test_where_the_new_one_cannot_be_loaded_the_old_one_stays() -> None:
    library = Library()
    shelf = Shelf(library.load, 2)
    kept = shelf.take("a")
    library.broken.add("a")
    with pytest.raises(OSError, match="broken"):
        shelf.renew(lambda version: True)
    assert shelf.take_if_loaded("a") is kept


def test_a_version_that_cannot_be_loaded_leaves_nothing_behind() -> None:
    shelf = Shelf(Library().load, 2)
    for _ in range(3):
        with pytest.raises(OSError, match="broken"):
            shelf.take("broken")
    assert not shelf._loading


def test_a_shelf_is_crowded_where_far_more_versions_are_in_use_than_it_holds() -> None:
    shelf = Shelf(Library().load, 2)
    taken = [shelf.take(str(number)) for number in range(2 + BEYOND)]
    assert shelf.is_crowded
    shelf.give_back(taken.pop())
    assert not shelf.is_crowded
