"""DELETE /classes/{label}: the task that it queues, and what is refused."""

import pytest
from starlette.testclient import TestClient


def test_a_task_is_queued_and_the_same_request_again_is_the_same_task(client: TestClient) -> None:
    headers = {"Idempotency-Key": "once"}
    first = client.delete("/classes/3?purge=true", headers=headers)
    assert first.status_code == 202
    task = first.json()
    assert first.headers["Location"] == f"/tasks/{task['id']}"
    assert (task["kind"], task["state"], task["labels"], task["purge"]) == ("forget", "queued", {"3": 0}, True)
    assert client.delete("/classes/3?purge=true", headers=headers).json()["id"] == task["id"]
    other = client.delete("/classes/3", headers=headers)
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert client.delete("/classes/3").status_code == 409


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/classes/9", 404, None),
        ("/classes/a/b", 404, None),
        ("/classes/%E2%80%AE3", 422, "label"),
        ("/classes/%20", 422, "label"),
        ("/classes/" + 201 * "x", 422, "label"),
        ("/classes/3?purge=perhaps", 422, "purge"),
        ("/classes/3?promote=manual", 422, "promote"),
    ],
)
def test_wrong_requests_are_refused(client: TestClient, path: str, status: int, field: str | None) -> None:
    answer = client.delete(path)
    assert answer.status_code == status, answer.text
    assert field in [error["field"] for error in answer.json().get("errors", [])] or field is None
    assert client.get("/tasks", params={"state": "queued"}).json()["items"] == []


def test_a_label_may_be_written_in_any_form_of_its_characters(client: TestClient) -> None:
    assert client.delete("/classes/%203%20").json()["labels"] == {"3": 0}
