"""A runtime that fails again and again: the worker says so, turns requests away, and opens it anew."""

import pytest
from starlette.testclient import TestClient

from model.runtime.onnx_session import OnnxSession
from service.predicting import following
from service.predicting.following import Follower
from service.predicting.loading import MOST_FAILURES
from tests import digits
from tests.service.pictures import JPEG_CUT, files
from tests.service.predicting.test_presence import until

DIGIT = digits.pngs(0)[0]


def status(client: TestClient, image: bytes = DIGIT, version: str = "") -> int:
    return client.post(f"/predict{version}", files=files(image)).status_code


def follower(client: TestClient) -> Follower:
    found: Follower = client.app_state.assembly.follower
    return found


def always_raises(*_: object) -> None:
    raise RuntimeError("the device is gone")


def break_down(client: TestClient) -> None:
    """The runtime that serves raises from now on, as after an error that stays with it; its files are whole."""
    loaded = follower(client).current.loaded
    loaded.model.runtime.features = always_raises
    assert [status(client) for _ in range(MOST_FAILURES)] == [500] * MOST_FAILURES
    assert loaded.failures.too_many


def test_a_broken_runtime_is_opened_anew_before_the_next_answer(client: TestClient) -> None:
    before = follower(client).current
    break_down(client)
    reply = client.post("/predict", files=files(DIGIT))
    assert (reply.status_code, reply.json()["version"]) == (200, before.serving.version)
    after = follower(client).current
    assert after.serving == before.serving
    assert after.loaded is not before.loaded
    assert client.get("/readyz").json()["reason"] is None


def test_it_is_opened_anew_though_nobody_asks_while_it_is_not_ready(client: TestClient) -> None:
    before = follower(client).current
    break_down(client)
    assert until(lambda: client.get("/readyz").status_code == 200)
    assert follower(client).current.loaded is not before.loaded
    assert status(client) == 200


def test_while_it_cannot_be_opened_anew_the_worker_is_not_ready_and_says_why(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "RETRY_LOAD_S", 0.1)
    with monkeypatch.context() as patched:
        patched.setattr(OnnxSession, "features", always_raises)
        break_down(client)
        reply = client.post("/predict", files=files(DIGIT))
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["ready"], ready.json()["version"]) == (503, False, 6)
        assert ready.json()["reason"] == reply.json()["detail"] == "the last 3 batches of version 6 failed"
    assert until(lambda: client.get("/readyz").status_code == 200)
    assert status(client) == 200


def test_bad_images_are_no_failures_of_the_runtime(client: TestClient) -> None:
    assert {status(client, bad) for bad in (b"garbage", JPEG_CUT) for _ in range(MOST_FAILURES)} == {415, 422}
    assert follower(client).current.loaded.failures.in_a_row == 0
    assert client.get("/readyz").status_code == 200


def test_a_version_that_is_asked_for_by_name_makes_no_worker_unready(client: TestClient) -> None:
    assembly = client.app_state.assembly
    assert status(client, version="?version=4") == 200
    older = assembly.shelf.take(assembly.ledger.version(4).digest)
    older.model.runtime.features = always_raises
    assert {status(client, version="?version=4") for _ in range(MOST_FAILURES)} == {500}
    assembly.shelf.give_back(older)
    assert client.get("/readyz").status_code == 200
    assert status(client) == 200


def test_a_version_that_is_asked_for_by_name_is_opened_anew_too(client: TestClient) -> None:
    assert status(client, version="?version=4") == 200
    assembly = client.app_state.assembly
    older = assembly.shelf.take(assembly.ledger.version(4).digest)
    older.model.runtime.features = always_raises
    assert [status(client, version="?version=4") for _ in range(MOST_FAILURES)] == [500] * MOST_FAILURES
    reply = client.post("/predict?version=4", files=files(DIGIT))
    assert (reply.status_code, reply.json()["version"]) == (200, 4)
    assembly.shelf.give_back(older)


def test_a_version_that_is_asked_for_by_name_and_cannot_be_opened_anew_is_said_not_to_run(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status(client, version="?version=4") == 200
    with monkeypatch.context() as patched:
        patched.setattr(OnnxSession, "features", always_raises)
        assert [status(client, version="?version=4") for _ in range(MOST_FAILURES)] == [500] * MOST_FAILURES
        reply = client.post("/predict?version=4", files=files(DIGIT))
        assert (reply.status_code, reply.json()["detail"]) == (
            409,
            "version 4 cannot be run here: RuntimeError: the device is gone",
        )
    assert status(client, version="?version=4") == 200
