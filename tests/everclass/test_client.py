"""What the client sends and how it reads answers; the real server is asked in tests/http/test_client.py."""

from pathlib import Path
from typing import Any

import pytest

from everclass import IMPATIENT, Client, Conflict, LabelledImage, NotTheContract, WrongContent, images
from tests.everclass.scripted import Reply, ScriptedServer, scripted

TASK = {"id": "t1", "state": "queued"}
PROMOTION = {"seq": 4, "alias": "serving", "version": 2, "at": "2026-01-31T12:00:00Z", "by": "anna", "lost": ["cat"]}


def client(server: ScriptedServer) -> Client:
    return Client(server.url, patience=IMPATIENT)


def test_images_in_memory_go_up_with_their_labels_in_order() -> None:
    with scripted(Reply(202, TASK)) as server, client(server) as everclass:
        lesson = [LabelledImage("cat", b"CAT", "held_out"), LabelledImage("dog", b"DOG", name="dog.png")]
        task = everclass.learn_images(lesson, name="pets", base=3, promote="manual", idempotency_key="k")
    asked = server.asked[0]
    assert task.id == "t1"
    assert asked.path == "/learn?base=3&promote=manual"
    assert asked.headers["Idempotency-Key"] == "k"
    values = [b"pets", b"CAT", b"cat", b"held_out", b"DOG", b"dog", b"train"]
    order = [b"\r\n\r\n" + value + b"\r\n" for value in values]
    places = [asked.body.index(word) for word in order]
    assert places == sorted(places)


def test_a_large_lesson_goes_up_as_batches_of_one_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "BATCH_IMAGES", 2)
    with scripted(Reply(202, TASK)) as server, client(server) as everclass:
        everclass.learn_images((LabelledImage("a", b"x") for _ in range(5)), name="n", idempotency_key="k")
    assert [asked.path for asked in server.asked] == [
        "/learn?commit=false",
        "/learn?task=t1&commit=false",
        "/learn?task=t1&commit=true",
    ]
    assert [asked.headers["Idempotency-Key"] for asked in server.asked] == ["k-0", "k-1", "k-2"]


def test_a_large_lesson_with_a_bad_batch_leaves_no_open_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "BATCH_IMAGES", 1)
    lesson = [LabelledImage("a", b"x"), LabelledImage("a", b"bad")]
    replies = (Reply(202, TASK), Reply(422, {"errors": [{"field": "images[0]", "message": "is no image"}]}))
    still_open = Reply(200, {**TASK, "state": "open"})
    given = scripted(*replies, still_open, Reply(404))
    with given as server, client(server) as everclass, pytest.raises(WrongContent):
        everclass.learn_images(lesson)
    assert (server.asked[-1].method, server.asked[-1].path) == ("DELETE", "/tasks/t1?purge=false")


def test_a_refusal_names_the_file_whatever_batch_it_was_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "BATCH_IMAGES", 2)
    (tmp_path / "cat").mkdir()
    for name in "abcd":
        (tmp_path / "cat" / f"{name}.png").write_bytes(b"x")
    bad = Reply(422, {"detail": "images[1]: is no image", "errors": [{"field": "images[1]", "message": "is no image"}]})
    given = scripted(Reply(202, TASK), bad, Reply(200, {**TASK, "state": "open"}), Reply(200, TASK), bad)
    with given as server, client(server) as everclass:
        with pytest.raises(WrongContent, match=r": cat/d\.png: is no image$") as caught:
            everclass.learn(tmp_path)
        assert [(error.field, error.image) for error in caught.value.errors] == [("images[3]", "cat/d.png")]
        with pytest.raises(WrongContent, match=r"cat/b\.png: is no image"):
            everclass.predict([tmp_path / "cat" / "a.png", tmp_path / "cat" / "b.png"])


def test_a_large_lesson_that_was_committed_after_all_is_not_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "BATCH_IMAGES", 1)
    lesson = [LabelledImage("a", b"x"), LabelledImage("a", b"bad")]
    replies = (Reply(202, TASK), Reply(422, {"errors": [{"field": "images[0]", "message": "is no image"}]}))
    given = scripted(*replies, Reply(200, {**TASK, "state": "queued"}))
    with given as server, client(server) as everclass, pytest.raises(WrongContent):
        everclass.learn_images(lesson)
    assert (server.asked[-1].method, server.asked[-1].path) == ("GET", "/tasks/t1")


def test_a_bad_batch_for_a_task_of_the_callers_leaves_that_task_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "BATCH_IMAGES", 1)
    lesson = [LabelledImage("a", b"x"), LabelledImage("a", b"bad")]
    replies = (Reply(202, TASK), Reply(422, {"errors": [{"field": "images[0]", "message": "is no image"}]}))
    with scripted(*replies) as server, client(server) as everclass, pytest.raises(WrongContent):
        everclass.learn_images(lesson, task="mine")
    assert [asked.method for asked in server.asked] == ["POST", "POST"]


@pytest.mark.parametrize(
    ("name", "field"),
    [("a.ZIP", b"archive"), ("a.tar.gz", b"archive"), ("a.parquet", b"parquet"), ("a.pq", b"parquet")],
)
def test_a_file_goes_up_as_what_its_name_says(tmp_path: Path, name: str, field: bytes) -> None:
    (tmp_path / name).write_bytes(b"content of the file")
    told: list[tuple[int, int]] = []
    with scripted(Reply(202, TASK)) as server, client(server) as everclass:
        everclass.learn(tmp_path / name, commit=False, on_sent=lambda sent, total: told.append((sent, total)))
    assert b'name="' + field + b'"' in server.asked[0].body
    assert b"content of the file" in server.asked[0].body
    assert server.asked[0].path == "/learn?commit=false"
    assert told[-1][0] == told[-1][1] == len(server.asked[0].body)


def test_nothing_to_learn_from_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    with scripted() as server, client(server) as everclass:
        with pytest.raises(ValueError, match="no images"):
            everclass.learn_images([])
        (tmp_path / "notes.txt").write_text("cats")
        with pytest.raises(ValueError, match="neither a folder"):
            everclass.learn(tmp_path / "notes.txt")
        for name in ("gone.zip", "nofolder"):
            with pytest.raises(FileNotFoundError, match=name):
                everclass.learn(tmp_path / name)
    assert server.asked == []


def test_an_answer_names_its_version_and_its_promotion(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"PNG")
    said = {"label": "cat", "score": 0.9, "known": True, "top": [{"label": "cat", "score": 0.9}]}
    body = {"version": 7, "kind": "final", "predictions": [said, said], "a_new_field": 1}
    with scripted(Reply(200, body, {"X-Promotion-Seq": "12"}), Reply(200, body)) as server, client(server) as everclass:
        answer = everclass.predict([tmp_path / "a.png", b"bytes"], top_k=2, alias="canary")
        assert everclass.predict(str(tmp_path / "a.png"), version=7).promotion_seq is None
    assert (answer.version, answer.promotion_seq, answer.predictions[1].top[0].label) == (7, 12, "cat")
    assert answer.model_dump()["a_new_field"] == 1
    assert [asked.path for asked in server.asked] == ["/predict?top_k=2&alias=canary", "/predict?top_k=5&version=7"]


def test_lists_are_fetched_part_by_part() -> None:
    pages = [Reply(200, {"items": [{**TASK, "id": f"t{n}"}], "next": n if n < 3 else None}) for n in (1, 2, 3)]
    with scripted(*pages) as server, client(server) as everclass:
        assert [task.id for task in everclass.tasks(state="queued")] == ["t1", "t2", "t3"]
    paths = ["/tasks?state=queued", "/tasks?state=queued&cursor=1", "/tasks?state=queued&cursor=2"]
    assert [asked.path for asked in server.asked] == paths


@pytest.mark.parametrize(
    ("wish", "body"),
    [
        ({}, b"{}"),
        ({"version": 2, "reason": "worse"}, b'{"version":2,"reason":"worse"}'),
        ({"task": "t9", "expected": 3}, b'{"task":"t9","expected":3}'),
        ({"expected": 3, "expected_seq": 4}, b'{"expected":{"version":3,"seq":4}}'),
        ({"expected_seq": 4}, b'{"expected":{"seq":4}}'),
    ],
)
def test_a_rollback_says_only_what_was_asked_for(wish: dict[str, Any], body: bytes) -> None:
    with scripted(Reply(200, PROMOTION)) as server, client(server) as everclass:
        promotion = everclass.rollback(**wish)
    assert (promotion.version, promotion.lost) == (2, ("cat",))
    assert server.asked[0].body == body


def test_names_in_paths_are_escaped() -> None:
    with scripted(Reply(200, PROMOTION)) as server, client(server) as everclass:
        everclass.promote(2, alias="a/b?c", reason="better")
    assert (server.asked[0].method, server.asked[0].path) == ("PUT", "/aliases/a%2Fb%3Fc")
    assert server.asked[0].body == b'{"version":2,"reason":"better"}'


def test_an_export_appears_only_once_it_is_whole(tmp_path: Path) -> None:
    with scripted(Reply(200, "archive"), Reply(409, {"detail": "deleted"})) as server, client(server) as everclass:
        assert everclass.export(2, tmp_path / "two.zip", format="safetensors").read_bytes() == b"archive"
        with pytest.raises(Conflict, match="deleted"):
            everclass.export(1, tmp_path / "one.zip")
    assert server.asked[0].path == "/versions/2/export?format=safetensors"
    assert [path.name for path in tmp_path.iterdir()] == ["two.zip"]


def test_an_answer_of_another_shape_is_recognised() -> None:
    with scripted(Reply(200, {"serving": "seven"})) as server, client(server) as everclass:
        with pytest.raises(NotTheContract):
            everclass.aliases()
        with pytest.raises(NotTheContract):
            everclass.classes()
