"""Who stops the server asks every process of it to end: no image is bad for that."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psutil
from PIL import Image

from model.pixels.decoding import Children


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


@contextmanager
def asked_to_end(most: int) -> Iterator[list[psutil.Process]]:
    """The first so many children that this process starts inside the block are asked to end as soon as they are."""
    before, seen, over = psutil.Process().children(), [], threading.Event()

    def ask() -> None:
        while not over.is_set() and len(seen) < most:
            for child in psutil.Process().children():
                if child not in before + seen:
                    child.terminate()
                    seen.append(child)
            time.sleep(0.001)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield seen
    finally:
        over.set()
        asking.join()


def test_children_that_are_asked_to_end_while_they_start_do_not_count() -> None:
    with closing(Children(1, 1000, 10)) as decoder, asked_to_end(3) as seen:
        assert len(decoder.digest(picture())) == 64
        assert len(seen) == 3


def test_a_child_that_is_asked_to_end_goes_on() -> None:
    before = psutil.Process().children()
    with closing(Children(1, 1000, 10)) as decoder:
        digest = decoder.digest(picture())
        (child,) = [one for one in psutil.Process().children() if one not in before]
        for _ in range(3):
            child.terminate()
            assert decoder.digest(picture()) == digest
        assert child.is_running()
