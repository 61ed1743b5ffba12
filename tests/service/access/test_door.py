"""Who is let in, what is told to those who are not, and what of it is written down."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy
from starlette.testclient import TestClient

from service.access.auditing import Auditor, Call
from tests import digits
from tests.service.access.keys import log, make, shown
from tests.service.conftest import Serve
from tests.service.test_learning_routes import images

TOKEN = "evc_000000000000_" + "x" * 43
PICTURE = digits.pngs(0)[0]


def test_the_first_key_closes_the_door_and_revoking_it_opens_nothing(serve: Serve) -> None:
    client = serve()
    assert client.get("/tasks").status_code == 200
    key = make(client, "ann", "admin")
    assert client.get("/tasks").status_code == 401
    assert client.get("/tasks", headers=key).status_code == 200
    assembly = client.app_state.assembly
    assembly.ledger.revoke_key("ann")
    assembly.access.ring.refresh()
    reply = client.get("/tasks", headers=key)
    assert (reply.status_code, reply.json()["detail"]) == (401, "this key was revoked")
    assert client.get("/tasks").status_code == 401


def test_an_expired_key_is_told_so_and_a_wrong_secret_is_not(serve: Serve) -> None:
    client = serve()
    key = make(client, "old", "admin", expires_at=datetime.now(UTC) + timedelta(seconds=0.01))
    threading.Event().wait(0.02)
    assert client.get("/tasks", headers=key).json()["detail"] == "this key has expired"
    wrong = {"Authorization": key["Authorization"][:-1] + ("a" if key["Authorization"][-1] != "a" else "b")}
    assert client.get("/tasks", headers=wrong).json()["detail"] == "this key is not known"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("BREW", "/livez", 405), ("PATCH", "/tasks", 405), ("POST", "/nowhere", 404)],
)
def test_what_there_is_not_is_hidden_from_those_without_a_key(
    serve: Serve, method: str, path: str, status: int
) -> None:
    client = serve()
    key = make(client, "ann", "predict")
    refused = client.request(method, path)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="everclass"')
    assert refused.headers["content-type"] == "application/problem+json"
    assert client.request(method, path, headers=key).status_code == status


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/openapi.json", "/docs"])
def test_open_calls_answer_whatever_is_shown(serve: Serve, path: str) -> None:
    client = serve(keys__allowed_hosts="example.org")
    key = make(client, "ann", "predict", rate=0.001)
    for headers in ({}, {"Authorization": "nonsense"}, shown(TOKEN), key, key):
        assert client.get(path, headers=headers).status_code in (200, 503)
        assert client.head(path, headers=headers).status_code in (200, 503)


@pytest.mark.parametrize(
    ("setting", "statuses"), [("open", [200, 200]), ("predict", [401, 200]), ("learn", [401, 403])]
)
def test_who_may_read_the_metrics_is_a_setting(serve: Serve, setting: str, statuses: list[int]) -> None:
    client = serve(keys__metrics=setting)
    key = make(client, "prometheus", "predict")
    assert [client.get("/metrics", headers=headers).status_code for headers in ({}, key)] == statuses


def test_only_the_names_that_are_allowed_are_answered_to(serve: Serve) -> None:
    client = serve(keys__allowed_hosts="Example.org, localhost")
    key = make(client, "ann", "predict")
    statuses = {
        host: client.get("/versions", headers={**key, "Host": host}).status_code
        for host in ("example.org", "EXAMPLE.ORG:443", "localhost", "example.com", "")
    }
    assert statuses == {"example.org": 200, "EXAMPLE.ORG:443": 200, "localhost": 200, "example.com": 403, "": 403}


def test_any_name_is_answered_to_where_none_is_set(serve: Serve) -> None:
    client = serve()
    key = make(client, "ann", "predict")
    assert client.get("/versions", headers={**key, "Host": "anything"}).status_code == 200


def test_without_a_named_origin_no_page_may_read_an_answer(serve: Serve) -> None:
    client = serve()
    key = make(client, "ann", "predict")
    reply = client.get("/versions", headers={**key, "Origin": "https://app.example"})
    assert not [name for name in reply.headers if name.startswith("access-control")]
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    assert client.options("/versions", headers=asked).status_code == 401


def test_pages_of_named_origins_may_ask_and_read(serve: Serve) -> None:
    client = serve(keys__allowed_origins="https://app.example")
    key = make(client, "ann", "predict")
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    preflight = client.options("/versions", headers=asked)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, "https://app.example")
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    reply = client.get("/versions", headers={**key, "Origin": "https://app.example"})
    assert (reply.headers["access-control-allow-origin"], reply.headers["vary"]) == ("https://app.example", "Origin")
    assert "access-control-allow-credentials" not in reply.headers
    other = client.get("/versions", headers={**key, "Origin": "https://evil.example"})
    assert ("access-control-allow-origin" in other.headers, other.headers["vary"]) == (False, "Origin")
    assert client.options("/versions", headers={**asked, "Origin": "https://evil.example"}).status_code == 401


def test_beyond_its_rate_a_key_is_told_when_to_come_again(serve: Serve) -> None:
    client = serve()
    slow, other = make(client, "slow", "predict", rate=0.01), make(client, "other", "predict")
    assert client.get("/versions", headers=slow).status_code == 200
    reply = client.get("/versions", headers=slow)
    assert (reply.status_code, 90 <= int(reply.headers["retry-after"]) <= 100) == (429, True)
    assert reply.json()["detail"] == "the rate of the key slow is 0.01 requests a second"
    assert client.get("/versions", headers=other).status_code == 200
    make(client, "third", "predict")
    assert client.get("/versions", headers=slow).status_code == 429


def test_a_key_learns_no_more_images_in_a_day_than_its_quota(serve: Serve) -> None:
    client = serve()
    key = make(client, "edge", "learn", images_per_day=3)
    two, label = digits.pngs(0)[:2], ["a"]
    first = client.post("/learn", files=images(*two), data={"labels": label * 2}, headers=key)
    assert (first.status_code, first.json()["by"]) == (202, "edge")
    more = client.post("/learn", files=images(*digits.pngs(1)[:2]), data={"labels": label * 2}, headers=key)
    assert (more.status_code, int(more.headers["retry-after"]) > 86_000) == (429, True)
    assert "the quota of the key edge is 3 images in 24 hours, of which 1 are left" in more.json()["detail"]
    one = client.post("/learn", files=images(digits.pngs(2)[0]), data={"labels": label}, headers=key)
    assert one.status_code == 202
    full = client.post("/learn", files=images(digits.pngs(3)[0]), data={"labels": label}, headers=key)
    assert full.status_code == 429
    large = client.post("/learn", files=images(*digits.pngs(4)[:4]), data={"labels": label * 4}, headers=key)
    assert large.status_code == 429
    stored = client.app_state.assembly.settings.root / "blobs" / "tasks"
    assert len([path for path in stored.rglob("*") if path.is_file()]) == 3


def test_idempotency_keys_belong_to_the_key_that_sends_them(serve: Serve) -> None:
    client = serve()
    ann, bob = make(client, "ann", "learn"), make(client, "bob", "learn")
    once = {"Idempotency-Key": "the same"}
    made = [client.post("/tasks", json={}, headers={**key, **once}).json() for key in (ann, ann, bob)]
    assert made[0]["id"] == made[1]["id"] != made[2]["id"]
    assert [task["by"] for task in made] == ["ann", "ann", "bob"]


def test_who_moved_an_alias_stands_in_both_logs(serve: Serve, folder: Path) -> None:
    client = serve(folder)
    boss = make(client, "boss", "admin")
    assert client.post("/rollback", json={"version": 4}, headers=boss).json()["by"] == "boss"
    assert client.put("/aliases/canary", json={"version": 6}, headers=boss).json()["by"] == "boss"
    assert client.delete("/versions/6", headers=boss).status_code == 409
    noted = [(line["route"], line["object"], line["status"], line["name"]) for line in log(client, boss)]
    assert noted == [
        ("/rollback", "/versions/4", 200, "boss"),
        ("/aliases/{name}", "/aliases/canary", 200, "boss"),
        ("/versions/{number}", "/versions/6", 409, "boss"),
    ]


def test_what_is_changed_and_who_is_refused_is_written_down_and_nothing_else(serve: Serve) -> None:
    client = serve()
    local = client.post("/tasks", json={}).json()
    boss, reader = make(client, "boss", "admin"), make(client, "reader", "predict")
    client.get("/tasks", headers=boss)
    client.post("/predict", files=images(PICTURE), headers=boss)
    client.post("/nowhere", headers=boss)
    client.delete(f"/tasks/{local['id']}", headers=boss)
    for _ in range(3):
        client.delete("/tasks/x", headers=reader)
    client.get("/tasks", headers=shown(TOKEN))
    client.get("/nowhere")
    noted = [
        (line["name"], line["method"], line["route"], line["status"], line["object"], line["times"])
        for line in log(client, boss)
    ]
    assert noted == [
        ("local", "POST", "/tasks", 201, f"/tasks/{local['id']}", 1),
        ("boss", "DELETE", "/tasks/{task_id}", 200, f"/tasks/{local['id']}", 1),
        ("reader", "DELETE", "/tasks/{task_id}", 403, None, 3),
        (None, "GET", "/tasks", 401, None, 1),
        (None, "GET", "unknown", 401, None, 1),
    ]
    [line] = [line for line in log(client, boss) if line["status"] == 403]
    assert line["remote"] == "127.0.0.1"
    assert line["key"] == id_named(client, "reader")


def id_named(client: TestClient, name: str) -> str:
    [key] = [key for key in client.app_state.assembly.ledger.all_keys() if key.name == name]
    return str(key.id)


def test_without_keys_a_foreign_page_is_refused_and_noted(serve: Serve) -> None:
    client = serve()
    for method, headers in (("GET", {"Origin": "https://evil.example"}), ("POST", {"Sec-Fetch-Site": "cross-site"})):
        assert client.request(method, "/tasks", headers=headers).status_code == 403
    noted = [(line["method"], line["route"], line["status"], line["name"]) for line in log(client, {})]
    assert noted == [("GET", "/tasks", 403, None), ("POST", "/tasks", 403, None)]


def test_a_flood_of_refusals_leaves_a_bounded_log(serve: Serve) -> None:
    """By methods that there are not, from ever new addresses, all day long."""
    client = serve()
    boss = make(client, "boss", "admin")
    ledger = client.app_state.assembly.ledger
    client.app_state.assembly.rounds.close()
    hour = [0.0]
    auditor = Auditor(ledger, lambda: hour[0])
    for turn in range(5):
        for number in range(130):
            auditor.refused(Call(f"BREW{number}", "unknown", f"10.0.{turn}.{number}", None), 401)
            auditor.refused(Call("GET", "/tasks", "10.0.0.1", None), 401)
        auditor.write()
    lines = log(client, boss)
    assert (len(lines), sum(line["times"] for line in lines)) == (101, 260)
    assert {line["method"] for line in lines} == {"other", "GET", ""}
    hour[0] = 3600.0
    auditor.write()
    lines = log(client, boss)
    assert (len(lines), sum(line["times"] for line in lines)) == (103, 1300)
    assert [line["route"] for line in lines].count("others") == 2


def test_refusals_of_a_known_key_are_written_whoever_else_is_refused(serve: Serve) -> None:
    client = serve()
    boss = make(client, "boss", "admin")
    auditor = client.app_state.assembly.access.auditor
    for number in range(200):
        auditor.refused(Call("GET", "/tasks", f"10.0.0.{number}", None), 401)
    make(client, "reader", "predict")
    client.delete("/tasks/x", headers=make(client, "other reader", "predict"))
    assert [line["name"] for line in log(client, boss) if line["status"] == 403] == ["other reader"]


def test_a_key_costs_a_prediction_no_call_of_the_database(serve: Serve, folder: Path) -> None:
    client = serve(folder)
    key = make(client, "edge", "predict")
    assert client.post("/predict", files=images(PICTURE), headers=key).status_code == 200
    calls: list[str] = []
    engine = client.app_state.assembly.ledger._database._engine

    def hear(connection: object, cursor: object, statement: str, *_: object) -> None:
        if threading.current_thread().name not in ("presence", "chores", "keys"):
            calls.append(statement)

    sqlalchemy.event.listen(engine, "before_cursor_execute", hear)
    for _ in range(5):
        assert client.post("/predict", files=images(PICTURE), headers=key).status_code == 200
    assert calls == []
    assert client.get("/classes", headers=key).status_code == 200
    assert calls, "nothing was heard at all"


def test_who_follows_a_task_is_told_no_more_once_the_key_is_revoked(serve: Serve) -> None:
    client = serve()
    key = make(client, "ann", "learn")
    task = client.post("/tasks", json={}, headers=key).json()["id"]
    assembly = client.app_state.assembly

    def revoke() -> None:
        assembly.ledger.revoke_key("ann")
        assembly.access.ring.refresh()

    threading.Timer(0.3, revoke).start()
    followed = client.get(f"/tasks/{task}/events", headers=key)
    assert (followed.status_code, followed.text.count("event: task")) == (200, 1)


def test_who_followed_without_a_key_is_told_no_more_once_there_is_one(serve: Serve) -> None:
    client = serve()
    task = client.post("/tasks", json={}).json()["id"]
    threading.Timer(0.3, make, (client, "ann", "learn")).start()
    assert client.get(f"/tasks/{task}/events").text.count("event: task") == 1


def test_the_use_of_a_key_is_noted_when_the_server_stops_at_the_latest(serve: Serve) -> None:
    client = serve()
    key = make(client, "edge", "predict")
    before = datetime.now(UTC)
    client.get("/versions", headers=key)
    assembly = client.app_state.assembly
    assembly.rounds.close()
    [edge] = assembly.ledger.all_keys()
    assert edge.last_used_at is not None
    assert before <= edge.last_used_at <= datetime.now(UTC)
