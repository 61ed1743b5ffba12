"""What `/learn` takes, and that nothing of what it refuses stays."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from starlette.testclient import TestClient

from tests import digits
from tests.service.conftest import Serve
from tests.service.pictures import BOMB, JPEG_CUT

ZERO, ONE, TWO = digits.pngs(0)[:3]


def images(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("images", (f"{number}.png", content)) for number, content in enumerate(contents)]


@pytest.fixture
def client(serve: Serve) -> TestClient:
    return serve()


def stored(client: TestClient) -> list[Path]:
    root = client.app_state.assembly.settings.root
    return [path for part in ("blobs/tasks", "incoming") for path in (root / part).rglob("*") if path.is_file()]


def test_images_with_labels_become_a_task_in_the_queue(client: TestClient) -> None:
    data = {"labels": ["zero", " e\u0301 "], "name": "first", "note": "two pictures"}
    reply = client.post("/learn", files=images(ZERO, ONE), data=data)
    task = reply.json()
    assert reply.status_code == 202
    assert reply.headers["location"] == f"/tasks/{task['id']}"
    assert (task["state"], task["position"], task["images"]) == ("queued", 1, 2)
    assert task["labels"] == {"zero": 1, "é": 1}
    assert (task["name"], task["note"], task["base"], task["versions"]) == ("first", "two pictures", None, [])
    assert client.get(f"/tasks/{task['id']}").json() == task
    assert len(stored(client)) == 2


def test_splits_are_kept(client: TestClient) -> None:
    data = {"labels": ["a", "a"], "splits": ["train", "held_out"]}
    task = client.post("/learn", files=images(ZERO, ONE), data=data).json()
    items = client.app_state.assembly.ledger.items(task["id"])
    assert [item.split for item in items] == ["train", "held_out"]


def test_wishes_about_the_task_are_kept(client: TestClient) -> None:
    query = "base=none&promote=manual"
    task = client.post(f"/learn?{query}", files=images(ZERO), data={"labels": ["a"]}).json()
    kept = client.app_state.assembly.ledger.task(task["id"])
    assert (kept.requested_base, kept.promote) == ("none", "manual")


def archive_of(form: str) -> bytes:
    file = io.BytesIO()
    if form == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("set/a/1.png", ZERO)
            archive.writestr("set/b/2.png", ONE)
    else:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, content in (("set/a/1.png", ZERO), ("set/b/2.png", ONE)):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_an_archive_of_a_tree_becomes_a_task(client: TestClient, form: str) -> None:
    reply = client.post("/learn", files={"archive": ("set", archive_of(form))})
    assert (reply.status_code, reply.json()["labels"]) == (202, {"a": 1, "b": 1})


def test_a_small_archive_may_come_without_a_file_name(client: TestClient) -> None:
    boundary = {"content-type": "multipart/form-data; boundary=XX"}
    head = b'--XX\r\nContent-Disposition: form-data; name="archive"\r\n\r\n'
    reply = client.post("/learn", content=head + archive_of("zip") + b"\r\n--XX--\r\n", headers=boundary)
    assert reply.status_code == 202


def test_a_parquet_table_becomes_a_task(client: TestClient) -> None:
    table = pyarrow.table({"image": [ZERO, ONE], "label": [0, 1], "label_name": ["nought", "one"]})
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    reply = client.post("/learn", files={"parquet": ("set.parquet", file.getvalue())})
    assert (reply.status_code, reply.json()["labels"]) == (202, {"nought": 1, "one": 1})


def test_a_class_that_no_url_can_name_comes_in_by_no_way(client: TestClient) -> None:
    table = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"image": [ZERO, ONE], "label": ["a", "."]}), table)
    task = client.post("/tasks").json()["id"]
    refusals = [
        client.post("/learn", files={"parquet": ("set.parquet", table.getvalue())}),
        client.post(f"/learn?task={task}", files=images(ZERO), data={"labels": ["."]}),
    ]
    for reply, field in zip(refusals, ("row 1", "labels[0]"), strict=True):
        assert (reply.status_code, [error["field"] for error in reply.json()["errors"]]) == (422, [field])
        assert "step in a path" in reply.json()["detail"]
    assert [one["images"] for one in client.get("/tasks").json()["items"]] == [0]


def test_one_bad_image_in_a_hundred_is_named_and_nothing_of_the_task_is_stored(client: TestClient) -> None:
    contents = list(digits.pngs(0)[:50] + digits.pngs(1)[:50])
    contents[42] = JPEG_CUT
    labels = ["0"] * 50 + ["1"] * 50
    reply = client.post("/learn", files=images(*contents), data={"labels": labels})
    assert reply.status_code == 422
    assert [error["field"] for error in reply.json()["errors"]] == ["images[42]"]
    assert client.get("/tasks").json()["items"] == []
    assert stored(client) == []


@pytest.mark.parametrize(
    ("contents", "data", "status", "field"),
    [
        ([b"garbage"], {"labels": ["a"]}, 415, "images[0]"),
        ([BOMB], {"labels": ["a"]}, 413, "images[0]"),
        ([ZERO, b"garbage", JPEG_CUT], {"labels": ["a"] * 3}, 422, "images[1]"),
        ([ZERO, ONE], {"labels": ["a"]}, 422, "labels"),
        ([ZERO], {}, 422, "labels"),
        ([ZERO], {"labels": [" "]}, 422, "labels[0]"),
        ([ZERO], {"labels": ["x" * 201]}, 422, "labels[0]"),
        ([ZERO], {"labels": ["a\u202eb"]}, 422, "labels[0]"),
        ([ZERO, ONE], {"labels": ["a", " .. "]}, 422, "labels[1]"),
        ([ZERO, ONE], {"labels": ["a", "b"], "splits": ["train"]}, 422, "splits"),
        ([ZERO], {"labels": ["a"], "splits": ["test"]}, 422, "splits[0]"),
        ([ZERO, ONE], {"labels": ["a", "b"], "splits": ["held_out"] * 2}, 422, "splits"),
        ([ZERO, ZERO], {"labels": ["a", "b"]}, 422, "images[1]"),
        ([ZERO], {"labels": ["a"], "name": "x" * 201}, 422, "name"),
        ([ZERO], {"labels": ["a"], "note": ["x", "y"]}, 422, "note"),
        ([ZERO], {"labels": ["a"], "colour": "red"}, 422, "colour"),
    ],
)
def test_wrong_content_is_refused_by_name(
    client: TestClient, contents: list[bytes], data: dict[str, object], status: int, field: str
) -> None:
    reply = client.post("/learn", files=images(*contents), data=data)
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (status, field)
    assert client.get("/tasks").json()["items"] == []


def test_one_source_at_a_time_is_taken(client: TestClient) -> None:
    archive = ("archive", ("set.zip", archive_of("zip")))
    assert client.post("/learn", files=[archive, *images(ZERO)], data={"labels": ["a"]}).status_code == 422
    assert client.post("/learn", files=[archive, archive]).json()["errors"][0]["field"] == "archive"
    assert client.post("/learn", files=[archive], data={"labels": ["a"]}).json()["errors"][0]["field"] == "labels"
    assert client.post("/learn", files={"note": (None, "nothing else")}).status_code == 422


def test_the_same_picture_twice_counts_once(client: TestClient) -> None:
    task = client.post("/learn", files=images(ZERO, ZERO, ONE), data={"labels": ["a"] * 3}).json()
    assert task["images"] == 2


def test_an_open_task_takes_batches_until_it_is_committed(client: TestClient) -> None:
    opened = client.post("/tasks", json={"name": "long", "note": "n", "base": "none", "promote": "manual"})
    assert (opened.status_code, opened.json()["state"]) == (201, "open")
    task = opened.headers["location"].removeprefix("/tasks/")
    client.post(f"/learn?task={task}&commit=false", files=images(ZERO), data={"labels": ["a"]})
    again = client.post(f"/learn?task={task}&commit=false", files=images(ONE), data={"labels": ["b"]})
    assert (again.json()["state"], again.json()["images"]) == ("open", 2)
    committed = client.post(f"/tasks/{task}/commit")
    assert (committed.status_code, committed.json()["state"]) == (202, "queued")
    late = client.post(f"/learn?task={task}", files=images(TWO), data={"labels": ["a"]})
    assert (late.status_code, late.json()["errors"][0]["field"]) == (409, "task")


@pytest.mark.parametrize("most", [10, 3000])
def test_a_note_is_as_long_as_the_setting_allows_however_the_task_is_begun(serve: Serve, most: int) -> None:
    client = serve(limits__note_length=most)
    for length, status in ((most, 201), (most + 1, 422)):
        opened = client.post("/tasks", json={"note": "x" * length})
        sent = client.post("/learn", files=images(ZERO), data={"labels": ["a"], "note": "x" * length})
        assert (opened.status_code, sent.is_success) == (status, status == 201)
    assert opened.json()["errors"] == sent.json()["errors"]
    assert opened.json()["errors"][0] == {"field": "note", "message": f"up to {most} characters are allowed"}


def test_an_open_task_takes_no_more_classes_than_a_task_may_have(serve: Serve) -> None:
    client = serve(limits__labels_per_task=2)
    task = client.post("/tasks", json={}).json()["id"]
    assert client.post(f"/learn?task={task}&commit=false", files=images(ZERO), data={"labels": ["a"]}).is_success
    refused = client.post(f"/learn?task={task}", files=images(ONE, TWO), data={"labels": ["b", "c"]})
    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"field": "labels", "message": "a task may have 2 classes"}]
    found = client.get(f"/tasks/{task}").json()
    assert (found["state"], found["labels"]) == ("open", {"a": 1})


def test_what_a_new_task_says_cannot_be_said_of_an_open_one(client: TestClient) -> None:
    task = client.post("/tasks").json()["id"]
    for query in ("&base=none", "&promote=auto"):
        assert client.post(f"/learn?task={task}{query}", files=images(ZERO)).status_code == 422
    data = {"labels": ["a"], "name": "late"}
    assert client.post(f"/learn?task={task}", files=images(ZERO), data=data).json()["errors"][0]["field"] == "name"
    assert client.post("/learn?task=nobody", files=images(ZERO)).status_code == 404


@pytest.mark.parametrize("query", ["base=7", "base=some", "base=0", "promote=perhaps", "commit=maybe", "tasks=x"])
def test_wrong_wishes_are_refused(client: TestClient, query: str) -> None:
    reply = client.post(f"/learn?{query}", files=images(ZERO), data={"labels": ["a"]})
    assert (reply.status_code, len(reply.json()["errors"])) == (422, 1)


def test_a_full_queue_says_when_to_come_again(serve: Serve) -> None:
    client = serve(limits__queue_tasks=1)
    assert client.post("/learn", files=images(ZERO), data={"labels": ["a"]}).status_code == 202
    reply = client.post("/learn", files=images(ONE), data={"labels": ["a"]})
    assert (reply.status_code, int(reply.headers["retry-after"]) > 0) == (429, True)
    assert len(client.get("/tasks").json()["items"]) == 1


@pytest.mark.parametrize("name", ["archive", "parquet"])
def test_a_source_without_images_is_blamed_by_its_own_name(client: TestClient, name: str) -> None:
    file = io.BytesIO()
    if name == "archive":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("set/a/.hidden", ZERO)
    else:
        none = pyarrow.table(
            {"image": pyarrow.array([], pyarrow.binary()), "label": pyarrow.array([], pyarrow.string())}
        )
        pyarrow.parquet.write_table(none, file)
    reply = client.post("/learn", files={name: ("set", file.getvalue())})
    assert (reply.status_code, reply.json()["errors"]) == (
        422,
        [{"field": name, "message": "there are no images in it"}],
    )


@pytest.mark.parametrize(
    ("settings", "ways"),
    [
        ({"limits__images_per_request": 1}, {"images": "images[1]", "archive": "archive"}),
        ({"limits__images_per_task": 1}, {"images": "images[1]", "archive": "set/b/2.png"}),
    ],
)
def test_too_many_images_are_refused_by_field_and_setting(
    serve: Serve, settings: dict[str, int], ways: dict[str, str]
) -> None:
    client = serve(**settings)
    (name,) = settings
    for way, field in ways.items():
        if way == "images":
            reply = client.post("/learn", files=images(ZERO, ONE), data={"labels": ["a", "b"]})
        else:
            reply = client.post("/learn", files={"archive": ("set.zip", archive_of("zip"))})
        (error,) = reply.json()["errors"]
        assert (reply.status_code, error["field"]) == (413, field)
        assert name.replace("__", ".") in error["message"]
    assert stored(client) == []


def test_an_upload_that_is_too_long_is_refused(serve: Serve) -> None:
    client = serve(limits__request_mb=1)
    reply = client.post("/learn", files=images(bytes(1_100_000)), data={"labels": ["a"]})
    assert reply.status_code == 413
    assert stored(client) == []


def test_an_open_task_commits_itself_once_it_is_large_enough(serve: Serve) -> None:
    client = serve(learn__commit_images=2)
    task = client.post("/learn?commit=false", files=images(ZERO), data={"labels": ["a"]}).json()
    assert task["state"] == "open"
    grown = client.post(f"/learn?commit=false&task={task['id']}", files=images(ONE), data={"labels": ["a"]}).json()
    assert grown["state"] == "queued"


def test_the_same_key_twice_is_one_task(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = client.post("/learn", files=images(ZERO, ONE), data={"labels": ["a", "b"]}, headers=headers)
    again = client.post("/learn", files=images(ZERO, ONE), data={"labels": ["a", "b"]}, headers=headers)
    assert (again.status_code, again.json()) == (202, first.json())
    assert len(client.get("/tasks").json()["items"]) == 1
    assert len(stored(client)) == 2


@pytest.mark.parametrize(
    ("query", "contents", "labels"),
    [("", [ZERO, ONE], ["a", "c"]), ("", [ONE, ZERO], ["a", "b"]), ("?base=none", [ZERO, ONE], ["a", "b"])],
)
def test_the_same_key_with_other_content_is_refused(
    client: TestClient, query: str, contents: list[bytes], labels: list[str]
) -> None:
    headers = {"Idempotency-Key": "k1"}
    client.post("/learn", files=images(ZERO, ONE), data={"labels": ["a", "b"]}, headers=headers)
    reply = client.post(f"/learn{query}", files=images(*contents), data={"labels": labels}, headers=headers)
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert len(client.get("/tasks").json()["items"]) == 1


def test_a_refused_request_uses_up_no_key(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    refused = client.post("/learn", files=images(b"garbage"), data={"labels": ["a"]}, headers=headers)
    assert refused.status_code == 415
    assert client.post("/learn", files=images(ZERO), data={"labels": ["a"]}, headers=headers).status_code == 202


def test_keys_are_apart_by_route_and_have_to_be_keys(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    assert client.post("/tasks", headers=headers).status_code == 201
    assert client.post("/learn", files=images(ZERO), data={"labels": ["a"]}, headers=headers).status_code == 202
    for key in ("", "x" * 256, "a\tb"):
        assert client.post("/tasks", headers={"Idempotency-Key": key}).status_code == 422


def test_opening_and_committing_are_done_once_for_a_key(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    task = client.post("/tasks", json={"name": "x"}, headers=headers).json()
    assert client.post("/tasks", json={"name": "x"}, headers=headers).json() == task
    assert client.post("/tasks", json={"name": "y"}, headers=headers).status_code == 422
    client.post(f"/learn?task={task['id']}&commit=false", files=images(ZERO), data={"labels": ["a"]})
    first = client.post(f"/tasks/{task['id']}/commit", headers=headers)
    assert client.post(f"/tasks/{task['id']}/commit", headers=headers).json() == first.json()
    assert client.post("/tasks/other/commit", headers=headers).status_code == 422


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"nam": 1}', "application/json", 422),
        (b"{}", "text/plain", 415),
        (json.dumps({"note": "x" * 100_000}).encode(), "application/json", 413),
    ],
)
def test_json_bodies_are_checked(client: TestClient, content: bytes, kind: str, status: int) -> None:
    assert client.post("/tasks", content=content, headers={"content-type": kind}).status_code == status
