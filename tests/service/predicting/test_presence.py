"""What a service does when nobody asks: it says what it has loaded, follows the ledger, and loads ahead."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from model.judging.agreement import Choice
from model.runtime import machine_type
from service.assembly import Assembly
from stream.errors import Conflict
from stream.ledger import Lease, Ledger
from tests import digits
from tests.service.conftest import Serve
from tests.service.test_promotion_routes import damage

SOON_S = 10
HERE = socket.gethostname()


def until(condition: Callable[[], object]) -> bool:
    end = time.monotonic() + SOON_S
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def serving(serve: Serve, folder: Path) -> TestClient:
    """A service that keeps one version apart from those in use."""
    return serve(folder, serve__max_loaded=1)


def loaded(client: TestClient) -> list[str]:
    assembly = client.app_state.assembly
    view = assembly.ledger.lease(assembly.lease.name)
    assert view is not None
    assert view.alive
    return list(view.info.get("loaded", []))


def test_a_service_says_what_it_has_loaded(client: TestClient) -> None:
    digest = client.get("/versions/6").json()["digest"]
    assert until(lambda: loaded(client) == [digest])


def test_it_follows_without_being_asked(client: TestClient) -> None:
    assembly = client.app_state.assembly
    assembly.ledger.move_alias("serving", 2, by="someone else")
    assert until(lambda: assembly.follower.current.serving.version == 2)
    assert client.get("/readyz").json()["version"] == 2


def test_the_learners_candidate_is_loaded_ahead_and_kept_while_it_is_one(serving: TestClient) -> None:
    ledger = serving.app_state.assembly.ledger
    in_force, candidate = (serving.get(f"/versions/{number}").json()["digest"] for number in (6, 2))
    lease = ledger.acquire_lease("learner", "a learner", HERE, 30)
    ledger.renew_lease(lease, {"candidate": candidate})
    assert until(lambda: set(loaded(serving)) == {in_force, candidate})
    serving.post("/predict?version=4", content=b"no image")
    assert candidate in loaded(serving)
    ledger.renew_lease(lease, {})
    assert until(lambda: loaded(serving) == [in_force])


def test_a_candidate_that_cannot_be_loaded_is_refused_in_so_many_words(serving: TestClient) -> None:
    damage(serving, 2)
    assembly = serving.app_state.assembly
    candidate = serving.get("/versions/2").json()["digest"]
    lease = assembly.ledger.acquire_lease("learner", "a learner", HERE, 30)
    assembly.ledger.renew_lease(lease, {"candidate": candidate})
    assert until(lambda: candidate in assembly.ledger.lease(assembly.lease.name).info.get("refused", {}))
    assert serving.get("/readyz").json()["learner"]["alive"] is True


def test_a_lease_that_was_lost_is_taken_again(client: TestClient) -> None:
    assembly = client.app_state.assembly
    view = assembly.ledger.lease(assembly.lease.name)
    assembly.ledger.release_lease(Lease(view.name, view.owner, view.host, view.token, 10))
    assert until(lambda: assembly.ledger.lease(assembly.lease.name).alive)


def test_the_lease_is_given_back_at_the_end(serve: Serve, folder: Path) -> None:
    client = serve(folder)
    assembly = client.app_state.assembly
    name, settings = assembly.lease.name, assembly.settings
    client.__exit__(None, None, None)
    ledger = Ledger.open(settings.database)
    assert not ledger.lease(name).alive
    ledger.close()


def test_a_service_on_another_machine_is_refused_where_the_database_serves_one(serve: Serve, folder: Path) -> None:
    client = serve(folder)
    settings = client.app_state.assembly.settings
    client.__exit__(None, None, None)
    ledger = Ledger.open(settings.database)
    ledger.acquire_lease("learner", "a learner", "another machine", 30)
    with pytest.raises(Conflict, match="PostgreSQL"):
        serve(folder)
    ledger.close()


def test_what_is_loaded_changes_to_the_runtime_that_is_chosen_later(serve: Serve, folder: Path) -> None:
    client = serve(folder, serve__runtime="auto")
    assembly = client.app_state.assembly
    before = client.post("/predict", content=digits.pngs(3)[0]).json()
    current = assembly.follower.current.loaded
    assert current.runtime == "onnxruntime"
    lease = assembly.ledger.acquire_lease("learner", "a learner", HERE, 30)
    choice = Choice("openvino-fp32", "for this test", True, ()).to_json()
    assembly.ledger.record_runtime_choice(lease, current.manifest.description["graph_key"], machine_type(), choice)
    assert until(lambda: runtime_of(assembly, current.digest) == "openvino-fp32")
    after = client.post("/predict", content=digits.pngs(3)[0]).json()
    assert after["version"] == before["version"]
    assert after["predictions"][0]["score"] == pytest.approx(before["predictions"][0]["score"], abs=1e-4)


def runtime_of(assembly: Assembly, digest: str) -> str:
    loaded = assembly.shelf.take_if_loaded(digest)
    assert loaded is not None
    assembly.shelf.give_back(loaded)
    return str(loaded.runtime)
