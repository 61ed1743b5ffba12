"""What may be looked at, how lists come in pages, and what holds for every path and method."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
from starlette.testclient import TestClient

from model.judging.gate import Check, Verdict
from service.learner.judging import BackboneComparison
from stream.tasks import Phase, TaskState
from stream.versions import VersionState
from tests import digits
from tests.service.conftest import Serve
from tests.service.test_learning_routes import images


def test_a_version_is_shown_with_the_fields_of_the_contract(client: TestClient) -> None:
    version = client.get("/versions/6").json()
    assert (version["version"], version["parent"], version["kind"], version["state"]) == (6, 4, "final", "ready")
    assert sorted(one["label"] for one in version["classes"]) == list("012345")
    assert {"label", "since", "images"} == set(version["classes"][0])
    for name in ("task", "accuracy", "accuracy_per_task", "forgetting", "calibration_error", "gate", "runtime"):
        assert name in version
    assert version["created_at"].endswith("Z")
    assert len(version["digest"]) == 64
    assert version["size_bytes"] > 0


def test_a_task_is_shown_with_the_fields_of_the_contract(client: TestClient) -> None:
    task = client.get("/tasks").json()["items"][0]
    assert (task["state"], task["base"], task["versions"]) == ("done", 4, [5, 6])
    assert set(task) >= {
        "id",
        "kind",
        "state",
        "position",
        "phase",
        "progress",
        "eta_s",
        "images",
        "labels",
        "base",
        "versions",
        "attempts",
        "reason",
        "name",
        "note",
        "created_at",
        "started_at",
        "finished_at",
        "epochs",
    }
    assert {"epoch", "loss", "accuracy"} == set(task["epochs"][0])


def test_lists_come_newest_first_in_pages(client: TestClient) -> None:
    first = client.get("/versions?limit=4").json()
    rest = client.get(f"/versions?limit=4&cursor={first['next']}").json()
    assert [one["version"] for one in first["items"] + rest["items"]] == [6, 5, 4, 3, 2, 1]
    assert rest["next"] is None
    tasks = client.get("/tasks?limit=1&state=done").json()
    assert (len(tasks["items"]), tasks["next"] is None) == (1, False)
    assert client.get("/tasks?state=queued").json()["items"] == []


@pytest.mark.parametrize(
    "query", ["/versions?limit=0", "/versions?limit=x", "/versions?cursor=x", "/tasks?state=lost", "/classes?page=2"]
)
def test_wrong_places_in_a_list_are_refused(client: TestClient, query: str) -> None:
    assert (client.get(query).status_code, len(client.get(query).json()["errors"])) == (422, 1)


def test_classes_come_in_one_page_or_in_as_many_as_are_asked_for(client: TestClient) -> None:
    whole = client.get("/classes").json()["items"]
    first = client.get("/classes?limit=4").json()
    second = client.get(f"/classes?limit=4&cursor={first['next']}").json()
    assert len(first["items"]) == 4
    assert (first["items"] + second["items"], second["next"]) == (whole, None)
    assert client.get("/classes?cursor=-1").status_code == 422


def test_what_is_not_there_is_a_problem(client: TestClient) -> None:
    for path in ("/tasks/nobody", "/versions/99", "/nowhere", "/tasks/", "/versions/6/", "/tasks/nobody/events"):
        reply = client.get(path)
        assert (reply.status_code, reply.headers["content-type"]) == (404, "application/problem+json"), path
        assert set(reply.json()) == {"type", "title", "status", "detail"}
    assert client.get("/versions/six").status_code == 422


@pytest.mark.parametrize("path", ["/schema.json", "/healthz", "/docs.json"])
def test_paths_of_the_server_underneath_are_not_ours(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PATCH", "/tasks/x", "DELETE, GET, HEAD"),
        ("GET", "/predict", "POST"),
        ("HEAD", "/predict", "POST"),
        ("DELETE", "/tasks", "GET, HEAD, POST"),
        ("POST", "/aliases/x", "DELETE, PUT"),
        ("OPTIONS", "/versions", "GET, HEAD"),
        ("BREW", "/livez", "GET, HEAD"),
    ],
)
def test_other_methods_are_refused_with_those_that_are_possible(
    client: TestClient, method: str, path: str, allow: str
) -> None:
    reply = client.request(method, path)
    assert (reply.status_code, reply.headers["allow"]) == (405, allow)
    if method != "HEAD":
        assert reply.json()["status"] == 405


@pytest.mark.parametrize(
    "path",
    [
        "/livez",
        "/readyz",
        "/metrics",
        "/tasks",
        "/versions/6",
        "/versions/6/export",
        "/docs",
        "/openapi.json",
        "/",
        "/web/main.js",
    ],
)
def test_head_works_where_get_does(client: TestClient, path: str) -> None:
    reply = client.head(path)
    assert (reply.status_code, reply.content) == (200, b"")


def test_readiness_tells_of_version_learner_and_settings_that_are_overruled(serve: Serve, folder: Path) -> None:
    client = serve(folder, image_size=64, method="seq_ft")
    ready = client.get("/readyz").json()
    assert (ready["ready"], ready["version"], ready["behind"]) == (True, 6, False)
    assert ready["learner"]["alive"] is False
    assert [sentence.split()[0] for sentence in ready["differs"]] == ["backbone", "image_size", "method"]


def test_an_empty_server_is_alive_and_not_ready(serve: Serve) -> None:
    client = serve()
    assert client.get("/livez").json() == {"live": True}
    reply = client.get("/readyz")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
    assert reply.json()["version"] is None
    assert reply.json()["learner"] == {"alive": False, "heartbeat_age_s": None, "task": None}
    assert client.get("/classes").json() == {"items": [], "next": None}
    assert client.get("/aliases").json() == {}


def test_metrics_count_predictions_by_version(client: TestClient) -> None:
    client.post("/predict", files=images(*digits.pngs(3)[:4]))
    text = client.get("/metrics").text
    assert 'everclass_predicted_images_total{version="6"} 4.0' in text
    assert "everclass_version_in_force 6.0" in text
    assert 'everclass_batch_images_bucket{le="4.0"}' in text


def test_metrics_may_be_turned_off(serve: Serve) -> None:
    assert serve(serve__metrics=False).get("/metrics").status_code == 404


def test_a_version_that_nothing_needs_can_be_deleted_once(client: TestClient) -> None:
    client.post("/rollback", json={"version": 2})
    deleted = client.delete("/versions/6", headers={"Idempotency-Key": "k"})
    assert (deleted.status_code, deleted.json()["state"]) == (200, "deleted")
    assert client.delete("/versions/6", headers={"Idempotency-Key": "k"}).json() == deleted.json()
    assert client.post("/predict?version=6", files=images(digits.pngs(0)[0])).status_code == 409
    assert client.get("/versions/6/export").status_code == 409


@pytest.mark.parametrize(("version", "status"), [(6, 409), (4, 409), (99, 404)])
def test_a_version_that_something_needs_stays(client: TestClient, version: int, status: int) -> None:
    assert client.delete(f"/versions/{version}").status_code == status


def test_every_reference_in_the_description_leads_somewhere(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    references = re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(description))
    assert references
    for reference in references:
        place = description
        for name in reference.split("/"):
            place = place[name]


def test_the_description_names_every_call_and_the_page_shows_it(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    calls = {f"{method.upper()} {path}" for path, item in description["paths"].items() for method in item}
    assert calls == {
        "POST /learn",
        "GET /tasks",
        "POST /tasks",
        "GET /tasks/{task_id}",
        "DELETE /tasks/{task_id}",
        "GET /tasks/{task_id}/events",
        "POST /tasks/{task_id}/commit",
        "POST /tasks/{task_id}/retry",
        "POST /predict",
        "GET /versions",
        "GET /versions/{number}",
        "DELETE /versions/{number}",
        "GET /versions/{number}/export",
        "GET /classes",
        "DELETE /classes/{label}",
        "GET /aliases",
        "PUT /aliases/{name}",
        "DELETE /aliases/{name}",
        "POST /rollback",
        "GET /promotions",
        "GET /audit",
        "GET /livez",
        "GET /readyz",
        "GET /metrics",
    }
    page = client.get("/docs").text
    assert all(call.split()[1] in page for call in calls)
    assert "<script" not in page
    assert "//" not in page.replace("<!doctype html>", "")


def test_a_task_may_only_be_cancelled_or_only_be_purged(serve: Serve) -> None:
    client = serve()
    task = f"/tasks/{client.post('/tasks', json={}).json()['id']}"
    refused = client.delete(f"{task}?purge=true")
    assert refused.status_code == 409 and "still needed" in refused.json()["detail"]
    assert client.delete(f"{task}?purge=false").json()["state"] == "cancelled"
    again = client.delete(f"{task}?purge=false")
    assert again.status_code == 409 and "is cancelled already; what is kept" in again.json()["detail"]
    assert client.delete(f"{task}?purge=true").status_code == 200
    assert client.delete(f"{task}?purge=perhaps").status_code == 422


def schema_of(client: TestClient, name: str) -> dict[str, Any]:
    return client.get("/openapi.json").json()["components"]["schemas"][name]["properties"]


def test_the_description_says_which_words_and_times_a_task_and_a_version_have(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["TaskState"]["enum"] == [str(state) for state in TaskState]
    assert schemas["VersionState"]["enum"] == [str(state) for state in VersionState]
    assert schemas["Phase"]["enum"] == [str(phase) for phase in Phase]
    task, version = schema_of(client, "TaskBody"), schema_of(client, "VersionBody")
    assert (task["state"]["$ref"], version["state"]["$ref"]) == (
        "#/components/schemas/TaskState",
        "#/components/schemas/VersionState",
    )
    assert (task["kind"]["enum"], version["kind"]["enum"]) == (["learn", "forget"], ["provisional", "final"])
    times = [task["created_at"], version["created_at"], *task["finished_at"]["anyOf"][:1]]
    assert all(time["format"] == "date-time" for time in times)
    assert not {"HTTPValidationError", "ValidationError"} & set(schemas)


def test_the_description_of_the_gate_is_what_versions_tell(client: TestClient) -> None:
    described = schema_of(client, "VersionBody")["gate"]["anyOf"][0]["properties"]
    told = [version["gate"] for version in client.get("/versions").json()["items"]]
    assert {name for gate in told for name in gate} == set(described)
    named = described["checks"]["items"]["properties"]
    assert set(named) == {one.name for one in fields(Check)}
    assert named["verdict"]["enum"] == described["verdict"]["enum"] == list(get_args(Verdict))
    comparison = described["backbone"]["anyOf"][0]["properties"]
    assert set(BackboneComparison(1, 0.0, 0.0).to_json()) == set(comparison)


def test_every_call_that_takes_an_idempotency_key_says_so(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    taking = {
        f"{method} {path}"
        for path, item in paths.items()
        for method, operation in item.items()
        if any(one["name"] == "Idempotency-Key" and one["in"] == "header" for one in operation.get("parameters", ()))
    }
    writing = {f"{method} {path}" for path, item in paths.items() for method in item if method != "get"}
    assert taking == writing - {"post /predict"}
    assert "Idempotency-Key" in client.get("/docs").text


@pytest.mark.parametrize("keys", [[""], ["k" * 256], ["one", "two"], ["same", "same"]])
def test_a_key_that_is_none_is_refused_where_keys_are_taken_and_nowhere_else(
    client: TestClient, keys: list[str]
) -> None:
    headers = [("Idempotency-Key", key) for key in keys]
    for path in ("/tasks", "/learn", "/rollback"):
        reply = client.post(path, headers=headers)
        assert (reply.status_code, reply.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert client.get("/tasks?state=open").json()["items"] == []
    assert client.post("/predict", files=images(digits.pngs(0)[0]), headers=headers).status_code == 200
    assert client.post("/tasks", headers={"Idempotency-Key": "k" * 255}).status_code == 201


def test_a_cancelled_task_is_shown_as_such_and_its_images_can_be_purged(serve: Serve) -> None:
    client = serve()
    task = client.post("/learn", files=images(digits.pngs(0)[0]), data={"labels": ["a"]}).json()
    cancelled = client.delete(f"/tasks/{task['id']}", headers={"Idempotency-Key": "k"}).json()
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "cancelled by local")
    assert client.delete(f"/tasks/{task['id']}", headers={"Idempotency-Key": "k"}).json() == cancelled
    root = client.app_state.assembly.settings.root
    assert any(path.is_file() for path in (root / "blobs" / "tasks").rglob("*"))
    retried = client.post(f"/tasks/{task['id']}/retry", headers={"Idempotency-Key": "k"})
    assert (retried.status_code, retried.json()["state"]) == (202, "queued")
    assert client.post(f"/tasks/{task['id']}/retry", headers={"Idempotency-Key": "k"}).status_code == 202
    assert client.post(f"/tasks/{task['id']}/retry").status_code == 409
    client.delete(f"/tasks/{task['id']}")
    assert client.delete(f"/tasks/{task['id']}").status_code == 200
    assert not any(path.is_file() for path in (root / "blobs" / "tasks").rglob("*"))
    assert client.post(f"/tasks/{task['id']}/retry").status_code == 409


def test_a_task_that_is_done_cannot_be_cancelled(client: TestClient) -> None:
    task = client.get("/tasks").json()["items"][0]["id"]
    assert client.delete(f"/tasks/{task}").status_code == 409


def test_events_tell_of_a_finished_task_once_and_end(client: TestClient) -> None:
    task = client.get("/tasks").json()["items"][0]
    reply = client.get(f"/tasks/{task['id']}/events")
    assert reply.headers["content-type"].startswith("text/event-stream")
    kind, data, *rest = reply.text.split("\n")
    assert (kind, json.loads(data.removeprefix("data: ")), rest) == ("event: task", task, ["", ""])
    assert client.head(f"/tasks/{task['id']}/events").content == b""
