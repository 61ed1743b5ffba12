"""What `/predict` answers, and what it refuses."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from model.served import Prediction, Ranked
from service.predicting.predictor import Answered
from service.routes.predicting import MOST_LABELS_ON_THE_LOOP, response, shown
from tests import digits
from tests.service.conftest import Serve
from tests.service.pictures import BOMB, JPEG_CUT, encoded, files

DIGIT = digits.pngs(0)[0]


def test_an_answer_names_its_version_in_the_body_and_in_the_headers(client: TestClient) -> None:
    reply = client.post("/predict", files=files(DIGIT))
    assert reply.status_code == 200
    body = reply.json()
    assert (body["version"], body["kind"]) == (6, "final")
    assert reply.headers["x-model-version"] == "6"
    assert int(reply.headers["x-promotion-seq"]) == client.get("/promotions").json()["items"][0]["seq"]


def test_scores_are_probabilities_and_top_is_in_their_order(client: TestClient) -> None:
    [prediction] = client.post("/predict?top_k=6", files=files(DIGIT)).json()["predictions"]
    scores = [one["score"] for one in prediction["top"]]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-6)
    assert {one["label"] for one in prediction["top"]} == set("012345")
    assert (prediction["label"], prediction["score"]) == (prediction["top"][0]["label"], scores[0])
    assert isinstance(prediction["known"], bool)


@pytest.mark.parametrize(("top_k", "labels"), [(1, 1), (5, 5), (1000, 6)])
def test_top_k_is_at_most_all_classes(client: TestClient, top_k: int, labels: int) -> None:
    [prediction] = client.post(f"/predict?top_k={top_k}", files=files(DIGIT)).json()["predictions"]
    assert len(prediction["top"]) == labels


def large(images: int, classes: int) -> Answered:
    """An answer of so many images and labels."""
    top = tuple(Ranked(f'Stra\u00dfe "{number}"', 1 / (number + 3)) for number in range(classes))
    return Answered(6, 7, "final", [Prediction(top[0].label, top[0].score, True, top)] * images)


@pytest.mark.parametrize(("images", "top_k"), [(1, 5), (2, 1), (3, MOST_LABELS_ON_THE_LOOP)])
def test_an_answer_has_the_same_bytes_wherever_it_is_written(images: int, top_k: int) -> None:
    answered = large(images, top_k)
    whole = {"version": 6, "kind": "final", "predictions": [shown(one, top_k) for one in answered.predictions]}
    with ThreadPoolExecutor(1) as writers:
        reply = asyncio.run(response(answered, top_k, writers))
    assert bytes(reply.body) == json.dumps(whole, ensure_ascii=False).encode()
    assert (reply.headers["x-model-version"], reply.headers["x-promotion-seq"]) == ("6", "7")


def test_others_are_served_while_a_large_answer_is_written() -> None:
    async def turns_of_the_loop() -> int:
        turns, writing = 0, asyncio.create_task(response(large(256, 1000), 1000, writers))
        while not writing.done():
            await asyncio.sleep(0.001)
            turns += 1
        return turns

    with ThreadPoolExecutor(1) as writers:
        assert asyncio.run(turns_of_the_loop()) > 10


def test_a_raw_body_is_answered_as_a_form_is(client: TestClient) -> None:
    of_form = client.post("/predict", files=files(DIGIT)).json()
    for kind in ("image/png", "application/octet-stream", "image/jpeg", ""):
        assert client.post("/predict", content=DIGIT, headers={"content-type": kind}).json() == of_form


def test_many_images_are_answered_in_their_order(client: TestClient) -> None:
    images = [digits.pngs(digit)[20] for digit in range(6)] * 20
    together = client.post("/predict", files=files(*images)).json()["predictions"]
    alone = [client.post("/predict", files=files(image)).json()["predictions"][0] for image in images[:6]]
    assert len(together) == 120
    for one, other in zip(together, alone * 20, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)


def test_an_older_version_answers_when_it_is_asked_for(client: TestClient) -> None:
    reply = client.post("/predict?version=2&top_k=100", files=files(DIGIT))
    assert reply.json()["version"] == 2
    assert {one["label"] for one in reply.json()["predictions"][0]["top"]} == {"0", "1"}


def test_a_version_answers_by_its_alias(client: TestClient) -> None:
    assert client.put("/aliases/stable", json={"version": 4}).status_code == 200
    assert client.post("/predict?alias=stable", files=files(DIGIT)).headers["x-model-version"] == "4"
    assert client.post("/predict?alias=serving", files=files(DIGIT)).headers["x-model-version"] == "6"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("version=99", 404),
        ("alias=nobody", 404),
        ("version=1", 409),
        ("version=0", 422),
        ("version=two", 422),
        ("version=2&alias=serving", 422),
        ("top_k=0", 422),
        ("topk=3", 422),
    ],
)
def test_versions_that_cannot_answer_are_refused(client: TestClient, query: str, status: int) -> None:
    reply = client.post(f"/predict?{query}", files=files(DIGIT))
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (b"garbage", 415),
        (b"", 415),
        (b"GIF89a" + bytes(100), 415),
        (JPEG_CUT, 422),
        (BOMB, 413),
    ],
)
def test_bad_images_are_named(client: TestClient, bad: bytes, status: int) -> None:
    reply = client.post("/predict", files=files(bad))
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (status, "images[0]")


def test_every_bad_image_among_good_ones_is_named(client: TestClient) -> None:
    images = [DIGIT] * 50
    images[7], images[31], images[49] = b"garbage", JPEG_CUT, BOMB
    reply = client.post("/predict", files=files(*images))
    assert reply.status_code == 422
    assert [error["field"] for error in reply.json()["errors"]] == ["images[7]", "images[31]", "images[49]"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "image/png", 400),
        (b"{}", "application/json", 415),
        (b"x", "multipart/form-data", 400),
        (b"--b\r\nbroken", "multipart/form-data; boundary=b", 400),
    ],
)
def test_bodies_that_are_no_images_are_refused(client: TestClient, content: bytes, kind: str, status: int) -> None:
    assert client.post("/predict", content=content, headers={"content-type": kind}).status_code == status


def test_forms_without_images_or_with_other_fields_are_refused(client: TestClient) -> None:
    empty = client.post("/predict", content=b"--b--\r\n", headers={"content-type": "multipart/form-data; boundary=b"})
    assert (empty.status_code, empty.json()["errors"][0]["field"]) == (422, "images")
    other = client.post("/predict", files=[("image", ("a.png", DIGIT))])
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "image")


def test_limits_of_a_request_are_kept(serve: Serve, folder) -> None:
    client = serve(folder, limits__images_per_predict=2, limits__predict_mb=1)
    many = client.post("/predict", files=files(DIGIT, DIGIT, DIGIT))
    assert (many.status_code, many.json()["errors"][0]["field"]) == (413, "images")
    assert "limits.images_per_predict" in many.json()["detail"]
    assert client.post("/predict", content=bytes(1_100_000), headers={"content-type": "image/png"}).status_code == 413


def test_without_a_version_the_answer_is_503_with_when_to_ask_again(serve: Serve) -> None:
    client = serve()
    reply = client.post("/predict", files=files(DIGIT))
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
    assert client.post("/predict?version=1", files=files(DIGIT)).status_code == 404


def test_any_of_the_types_we_take_is_answered(client: TestClient) -> None:
    picture = Image.fromarray(np.arange(48 * 40 * 3, dtype=np.uint8).reshape(48, 40, 3))
    for form in ("PNG", "JPEG", "WEBP"):
        assert client.post("/predict", content=encoded(picture, form)).status_code == 200
