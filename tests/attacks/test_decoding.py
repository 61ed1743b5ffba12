"""An image that its decoder dies of, or never gets done with, hurts its own request only."""

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.attacks.corpus.attack import labelled
from tests.attacks.corpus.making import encoded, jpeg_of_scans
from tests.http.server import WORKER, RunningServer
from tests.service.pictures import files

DECODER = "model.pixels.decoder"


@pytest.fixture(scope="module")
def slow() -> bytes:
    """A small file that takes minutes to decode."""
    return jpeg_of_scans(20_000, 3000)


def decoders(server: RunningServer) -> list[psutil.Process]:
    """The children of the service that decode."""
    found = []
    for child in psutil.Process(server.pid_of(WORKER)).children():
        try:
            found += [child] if DECODER in child.cmdline() else []
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def started(attacked: Path) -> Iterator[RunningServer]:
    settings = {"serve.threads": 1, "serve.runtime": "onnxruntime", "limits.decode_s": 2}
    with RunningServer(attacked, settings=settings) as server:
        server.wait_until_ready()
        yield server


def predict(server: RunningServer, *images: bytes) -> httpx.Response:
    return httpx.post(f"{server.url}/predict", files=files(*images), timeout=120)


def assert_names(reply: httpx.Response, field: str, words: str) -> None:
    assert (reply.status_code, [error["field"] for error in reply.json()["errors"]]) == (422, [field]), reply.text
    assert words in reply.json()["detail"]


def test_an_image_that_takes_too_long_is_refused_while_others_are_answered(started: RunningServer, slow: bytes) -> None:
    replies: list[httpx.Response] = []
    attack = threading.Thread(target=lambda: replies.append(predict(started, slow)))
    attack.start()
    answered = 0
    while attack.is_alive():
        assert predict(started, encoded("PNG")).status_code == 200
        answered += 1
    attack.join()
    assert answered > 0
    assert_names(replies[0], "images[0]", "takes too long")


def test_one_slow_image_among_others_is_named(started: RunningServer, slow: bytes) -> None:
    assert_names(predict(started, encoded("PNG"), slow), "images[1]", "takes too long")


def test_what_takes_too_long_is_not_learned_either(started: RunningServer, slow: bytes) -> None:
    content_type = {"content-type": "multipart/form-data; boundary=attack-0123456789"}
    reply = started.client.post("/learn", content=labelled(slow), headers=content_type)
    assert_names(reply, "images[0]", "takes too long")


def test_a_decoder_that_dies_with_each_try_costs_its_image_and_the_worker_lives(
    started: RunningServer, slow: bytes
) -> None:
    worker = started.pid_of(WORKER)
    replies: list[httpx.Response] = []
    attack = threading.Thread(target=lambda: replies.append(predict(started, slow)))
    attack.start()
    while attack.is_alive():
        for child in decoders(started):
            if child.is_running():
                child.kill()
    attack.join()
    assert_names(replies[0], "images[0]", "the decoder dies of it")
    assert predict(started, encoded("PNG")).status_code == 200
    assert started.pid_of(WORKER) == worker


def test_a_decoder_that_was_killed_from_outside_costs_nothing(started: RunningServer) -> None:
    assert predict(started, encoded("PNG")).status_code == 200
    killed = decoders(started)
    for child in killed:
        child.kill()
    psutil.wait_procs(killed, timeout=0.1)
    assert predict(started, encoded("PNG")).status_code == 200
    assert killed


def test_a_decoder_knows_no_secrets(started: RunningServer) -> None:
    reply = started.client.post("/predict", files=files(encoded("PNG")))
    assert reply.status_code == 200
    for decoder in decoders(started):
        names = set(decoder.environ())
        assert "PATH" in names and not {name for name in names if name.startswith(("EVERCLASS_", "AWS_"))}
