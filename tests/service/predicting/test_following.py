"""What a worker serves when what it ought to serve cannot be had."""

import threading

import pytest
from starlette.testclient import TestClient

from service.predicting.following import Follower
from stream.errors import Unavailable
from stream.ledger import Ledger
from stream.versions import Serving
from tests import digits
from tests.service.pictures import files
from tests.service.test_promotion_routes import answers, damage
from tests.service.versions import learning, publish

DIGIT = digits.pngs(0)[0]


class Away:
    """A ledger that answers until it is told not to, or to take its time."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.away = False
        self.answers = threading.Event()
        self.answers.set()
        self.asked = threading.Semaphore(0)

    def serving(self) -> Serving | None:
        if not self.answers.is_set():
            self.asked.release()
            self.answers.wait()
        if self.away:
            raise Unavailable("the database does not answer")
        return self.ledger.serving()


def test_while_the_database_is_away_the_last_version_goes_on_serving(client: TestClient) -> None:
    assembly = client.app_state.assembly
    ledger = Away(assembly.ledger)
    marked: list[object] = []
    follower = Follower(ledger, assembly.shelf, assembly.metrics, lambda *args: marked.append(args))  # type: ignore[arg-type]
    ledger.away = True
    with pytest.raises(Unavailable):
        follower.take()
    ledger.away = False
    follower.follow()
    ledger.away = True
    found = follower.take()
    assert found is not None
    assert found.serving.version == 6
    follower.follow()
    assert (follower.current, follower.failure, marked) == (found, None, [])
    assembly.shelf.give_back(found.loaded)


def test_nobody_waits_while_one_asks_whether_the_database_is_back(client: TestClient) -> None:
    assembly = client.app_state.assembly
    ledger = Away(assembly.ledger)
    follower = Follower(ledger, assembly.shelf, assembly.metrics, lambda *args: None)  # type: ignore[arg-type]
    follower.follow()
    ledger.away = True
    follower.follow()
    ledger.answers.clear()
    asking = threading.Thread(target=follower.follow)
    asking.start()
    assert ledger.asked.acquire(timeout=10)
    found = follower.take()
    assert found is not None
    assert asking.is_alive()
    ledger.away = False
    ledger.answers.set()
    asking.join()
    assembly.shelf.give_back(found.loaded)


def test_a_version_that_the_runtime_cannot_open_is_not_served(client: TestClient) -> None:
    assembly = client.app_state.assembly
    lease, task = learning(assembly)
    version = publish(assembly, lease, task, 6, graph=b"no graph")
    assert answers(client) == 6
    ready = client.get("/readyz").json()
    assert (ready["version"], ready["behind"]) == (6, True)
    assert "GraphMismatch" in ready["reason"]
    reply = client.post(f"/predict?version={version.version}", files=files(DIGIT))
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (409, "version")
    assert client.get(f"/versions/{version.version}").json()["state"] == "ready"


def test_no_request_waits_for_another_try_to_load(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.predicting.following.RETRY_LOAD_S", 0.0)
    assembly = client.app_state.assembly
    follower = Follower(assembly.ledger, assembly.shelf, assembly.metrics, lambda *args: None)
    follower.follow()
    lease, task = learning(assembly)
    version = publish(assembly, lease, task, 6, graph=b"no graph").version
    assert follower.take() is None
    follower.follow()
    assert follower.failure is not None
    assert follower.failure.serving.version == version
    found = follower.take()
    assert found is not None
    assert found.serving.version == 6
    assembly.shelf.give_back(found.loaded)


def test_a_promotion_of_what_cannot_be_opened_moves_nothing(client: TestClient) -> None:
    assembly = client.app_state.assembly
    lease, task = learning(assembly)
    version = publish(assembly, lease, task, 6, graph=b"no graph").version
    client.post("/rollback", json={"version": 4})
    log = client.get("/promotions").json()
    assert client.put("/aliases/serving", json={"version": version}).status_code == 409
    assert (client.get("/promotions").json(), answers(client)) == (log, 4)


def test_when_nothing_is_in_force_any_more_the_answer_is_503(client: TestClient) -> None:
    assembly = client.app_state.assembly
    with assembly.ledger._database.write() as connection:
        connection.exec_driver_sql("UPDATE aliases SET version = NULL WHERE alias = 'serving'")
    assert client.post("/predict", files=files(DIGIT)).status_code == 503
    assert client.get("/readyz").json()["version"] is None


def test_cancelling_a_task_puts_its_base_back_in_force(client: TestClient) -> None:
    assembly = client.app_state.assembly
    lease, task = learning(assembly)
    version = publish(assembly, lease, task, 6).version
    assert answers(client) == version
    cancelled = client.delete(f"/tasks/{task.id}").json()
    assert (cancelled["state"], answers(client)) == ("cancelled", 6)
    assert client.get(f"/versions/{version}").json()["state"] == "held"


def test_cancelling_moves_nothing_where_the_base_cannot_be_loaded(client: TestClient) -> None:
    assembly = client.app_state.assembly
    lease, task = learning(assembly)
    version = publish(assembly, lease, task, 4).version
    assert answers(client) == version
    client.post(f"/predict?version={version}", files=files(DIGIT))
    damage(client, 6)
    _forget(client)
    log = client.get("/promotions").json()
    reply = client.delete(f"/tasks/{task.id}")
    assert (reply.status_code, client.get(f"/tasks/{task.id}").json()["state"]) == (409, "learning")
    assert (client.get("/promotions").json(), answers(client)) == (log, version)
    assert client.get("/versions/6").json()["state"] == "damaged"
    again = client.delete(f"/tasks/{task.id}")
    assert (again.status_code, answers(client)) == (200, 4)


def test_cancelling_after_someone_moved_elsewhere_leaves_that_in_force(client: TestClient) -> None:
    assembly = client.app_state.assembly
    lease, task = learning(assembly)
    publish(assembly, lease, task, 6)
    client.post("/rollback", json={"version": 2})
    assert client.delete(f"/tasks/{task.id}").status_code == 200
    assert answers(client) == 2


def test_a_part_that_is_gone_is_told_before_the_first_byte_of_an_export(client: TestClient) -> None:
    damage(client, 2)
    reply = client.get("/versions/2/export?format=safetensors")
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (409, "version")


def _forget(client: TestClient) -> None:
    """Have the service load version 6 anew when it is next asked for."""
    shelf = client.app_state.assembly.shelf
    digest = client.get("/versions/6").json()["digest"]
    shelf._loaded.pop(digest).model.close()
