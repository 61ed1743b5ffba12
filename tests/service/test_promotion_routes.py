"""Going back and forward: nothing moves before the target is loaded, and every answer afterwards is the target's."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from stream.manifest import load_manifest, manifest_key
from tests import digits
from tests.service.conftest import Serve
from tests.service.pictures import files

DIGIT = digits.pngs(0)[0]


def answers(client: TestClient) -> int:
    return int(client.post("/predict", files=files(DIGIT)).headers["x-model-version"])


def damage(client: TestClient, version: int) -> None:
    """Change a byte in the middle of the version's head."""
    assembly = client.app_state.assembly
    manifest = load_manifest(assembly.blobs, assembly.ledger.version(version).digest)
    path = assembly.settings.root / "blobs" / manifest.parts["head"].key
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_rollback_goes_to_the_parent_and_says_what_was_lost(client: TestClient) -> None:
    promotion = client.post("/rollback", json={"reason": "too eager"}).json()
    assert (promotion["alias"], promotion["version"], promotion["previous"]) == ("serving", 4, 6)
    assert (promotion["lost"], promotion["won"]) == (["4", "5"], [])
    assert (promotion["reason"], promotion["by"]) == ("too eager", "local")
    reply = client.post("/predict", files=files(DIGIT))
    assert reply.headers["x-model-version"] == "4"
    assert reply.headers["x-promotion-seq"] == str(promotion["seq"])
    assert client.get("/promotions").json()["items"][0] == promotion


def test_a_rollback_goes_to_the_version_or_the_tasks_base_that_is_named(client: TestClient) -> None:
    assert client.post("/rollback", json={"version": 2}).json()["version"] == 2
    assert answers(client) == 2
    last = client.get("/versions/6").json()["task"]
    assert client.post("/rollback", json={"task": last}).json()["version"] == 4
    assert answers(client) == 4


def test_rolling_forward_is_a_move_like_any_other(client: TestClient) -> None:
    client.post("/rollback")
    before = client.get("/classes").json()["items"]
    promotion = client.put("/aliases/serving", json={"version": 6, "reason": "again"}).json()
    assert (promotion["won"], answers(client)) == (["4", "5"], 6)
    assert sorted(one["label"] for one in before) == ["0", "1", "2", "3"]
    assert len(client.get("/classes").json()["items"]) == 6


def test_at_a_root_there_is_nothing_to_go_back_to(client: TestClient, serve: Serve) -> None:
    client.post("/rollback", json={"version": 2})
    assert client.post("/rollback").status_code == 409
    first = client.get("/versions/2").json()["task"]
    assert client.post("/rollback", json={"task": first}).status_code == 409


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"version": 99}, 404),
        ({"task": "nobody"}, 404),
        ({"version": 1}, 409),
        ({"version": 2, "task": "x"}, 422),
        ({"version": "2"}, 422),
        ({"version": True}, 422),
        ({"versions": 2}, 422),
        ({"version": 2, "expected": 4}, 409),
        ({"version": 2, "expected": {"seq": 999}}, 409),
        ({"version": 2, "expected": "six"}, 422),
        ({"version": 2, "reason": "x" * 2001}, 422),
    ],
)
def test_where_a_move_is_refused_nothing_moves(client: TestClient, body: dict[str, object], status: int) -> None:
    log = client.get("/promotions").json()
    reply = client.post("/rollback", json=body)
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")
    assert len(reply.json().get("errors", [])) <= 1
    assert client.get("/promotions").json() == log
    assert answers(client) == 6


def test_a_move_goes_through_where_what_is_believed_is_so(client: TestClient) -> None:
    seq = client.get("/promotions").json()["items"][0]["seq"]
    assert client.post("/rollback", json={"expected": 6}).status_code == 200
    assert client.post("/rollback", json={"version": 6, "expected": {"version": 4, "seq": seq + 1}}).status_code == 200
    stale = client.post("/rollback", json={"expected": {"seq": seq}})
    assert (stale.status_code, stale.json()["errors"][0]["field"]) == (409, "expected")


def test_a_damaged_version_is_found_out_before_anything_moves(client: TestClient) -> None:
    damage(client, 2)
    log = client.get("/promotions").json()
    reply = client.post("/rollback", json={"version": 2})
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (409, "version")
    assert client.get("/versions/2").json()["state"] == "damaged"
    assert (client.get("/promotions").json(), answers(client)) == (log, 6)
    assert client.post("/predict?version=2", files=files(DIGIT)).status_code == 409
    assert client.put("/aliases/old", json={"version": 2}).status_code == 409
    assert client.get("/versions/2/export").status_code == 409


def test_a_damaged_version_is_found_out_by_the_first_who_asks_it(client: TestClient) -> None:
    damage(client, 4)
    assert client.post("/predict?version=4", files=files(DIGIT)).status_code == 409
    assert client.get("/versions/4").json()["state"] == "damaged"


def test_a_version_in_force_that_cannot_be_loaded_leaves_the_last_good_one_serving(client: TestClient) -> None:
    damage(client, 2)
    ledger = client.app_state.assembly.ledger
    ledger.move_alias("serving", 2, by="another service")
    assert answers(client) == 6
    ready = client.get("/readyz").json()
    assert (ready["ready"], ready["version"], ready["behind"]) == (True, 6, True)
    assert "damaged" in ready["reason"]
    assert str(client.app_state.assembly.settings.root) not in ready["reason"]
    ledger.move_alias("serving", 4, by="another service")
    assert answers(client) == 4
    assert client.get("/readyz").json()["behind"] is False


def test_a_service_that_starts_on_a_damaged_version_is_not_ready_and_says_why(client: TestClient, serve: Serve) -> None:
    damage(client, 6)
    other = serve(client.app_state.assembly.settings.root)
    reply = other.get("/readyz")
    assert (reply.status_code, reply.json()["ready"], reply.json()["behind"]) == (503, False, True)
    assert other.post("/predict", files=files(DIGIT)).status_code == 503
    assert other.post("/rollback", json={"version": 4}).status_code == 200
    assert (answers(other), other.get("/readyz").status_code) == (4, 200)


def test_another_service_on_the_same_ledger_follows_at_its_next_request(serve: Serve, folder: Path) -> None:
    one, other = serve(folder), serve(folder)
    assert answers(other) == 6
    for version in (2, 4, 6, 2):
        one.post("/rollback", json={"version": version})
        assert answers(other) == version


def test_the_same_key_moves_once(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k"}
    first = client.post("/rollback", headers=headers).json()
    assert client.post("/rollback", headers=headers).json() == first
    assert answers(client) == 4
    assert client.post("/rollback", json={"version": 2}, headers=headers).status_code == 422
    put = client.put("/aliases/stable", json={"version": 2}, headers=headers).json()
    assert client.put("/aliases/stable", json={"version": 2}, headers=headers).json() == put


def test_a_refused_move_uses_up_no_key(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k"}
    assert client.post("/rollback", json={"version": 99}, headers=headers).status_code == 404
    assert client.post("/rollback", json={"version": 4}, headers=headers).status_code == 200


def test_aliases_are_listed_and_have_to_be_names(client: TestClient) -> None:
    client.put("/aliases/stable", json={"version": 4})
    assert client.get("/aliases").json() == {"serving": 6, "stable": 4}
    refused = client.put("/aliases/Not%20a%20name", json={"version": 4})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "name")
    assert client.put("/aliases/stable", json={}).json()["errors"][0]["field"] == "version"


def test_an_alias_is_removed_once_and_its_version_may_go(client: TestClient) -> None:
    client.put("/aliases/stabel", json={"version": 2})
    assert client.delete("/versions/2").status_code == 409
    assert client.delete("/aliases/stabel?expected=4").json()["errors"][0]["field"] == "expected"
    headers = {"Idempotency-Key": "k"}
    removed = client.delete("/aliases/stabel?reason=a+typo&expected=2", headers=headers)
    told = removed.json()
    assert (removed.status_code, told["alias"], told["version"], told["previous"]) == (200, "stabel", None, 2)
    assert (told["reason"], told["by"], told["won"]) == ("a typo", "local", [])
    assert client.delete("/aliases/stabel?reason=a+typo&expected=2", headers=headers).json() == told
    assert client.delete("/aliases/stabel", headers=headers).status_code == 422
    assert client.get("/promotions").json()["items"][0] == told
    assert client.get("/aliases").json() == {"serving": 6}
    assert client.post("/predict?alias=stabel", files=files(DIGIT)).status_code == 404
    assert client.delete("/aliases/stabel").status_code == 404
    assert client.delete("/versions/2").status_code == 200
    entry = client.get("/audit").json()["items"][1]
    assert (entry["method"], entry["route"], entry["object"]) == ("DELETE", "/aliases/{name}", "/aliases/stabel")


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [("serving", 409, "name"), ("No%20name", 422, "name"), ("x?expected=0", 422, "expected"), ("x?why=1", 422, "why")],
)
def test_what_is_no_alias_to_remove_is_refused(client: TestClient, path: str, status: int, field: str) -> None:
    reply = client.delete(f"/aliases/{path}")
    assert (reply.status_code, [error["field"] for error in reply.json()["errors"]]) == (status, [field])
    assert answers(client) == 6


def test_the_log_says_what_served_when(client: TestClient) -> None:
    log = client.get("/promotions").json()["items"]
    assert [one["seq"] for one in log] == sorted((one["seq"] for one in log), reverse=True)
    for one in log:
        assert client.get("/promotions", params={"at": one["at"]}).json() == {"items": [one], "next": None}
    assert client.get("/promotions?at=2001-01-01T00:00:00Z").json()["items"] == []
    assert client.get("/promotions?at=yesterday").status_code == 422
    assert client.get("/promotions?at=2030-01-01T00:00:00").status_code == 422
    assert client.get("/promotions?limit=1").json()["next"] is not None


def test_the_swap_finds_loaded_versions_again_and_keeps_no_more_than_allowed(serve: Serve, folder: Path) -> None:
    client = serve(folder, serve__max_loaded=2)
    shelf = client.app_state.assembly.shelf
    for version in (2, 4, 6, 2, 4):
        client.post("/rollback", json={"version": version})
        assert answers(client) == version
        assert len(shelf.digests) <= 2


def test_why_a_version_cannot_be_loaded_is_told_without_places(client: TestClient) -> None:
    assembly = client.app_state.assembly
    manifest = assembly.settings.root / "blobs" / manifest_key(assembly.ledger.version(2).digest)
    manifest.unlink()
    manifest.mkdir()
    assembly.ledger.move_alias("serving", 2, by="another service")
    assert answers(client) == 6
    ready = client.get("/readyz").json()
    assert (ready["version"], ready["behind"]) == (6, True)
    assert ready["reason"] and "/" not in ready["reason"] and "Errno" not in ready["reason"]
