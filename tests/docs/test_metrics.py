"""The table of metrics is what a server exposes."""

import re
import socket
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from service.app import make_app
from service.settings import load_settings
from stream.tasks import TaskState
from stream.versions import VersionState
from tests import digits
from tests.docs.test_pages import section
from tests.taught import Taught

Exposed = dict[str, tuple[str, set[str]]]


@pytest.fixture(scope="module")
def client(taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server that has learned, and has predicted."""
    folder = taught.copied(tmp_path_factory.mktemp("metrics") / "data")
    given = {"data_dir": folder, "serve.threads": 1, "serve.runtime": "onnxruntime", "serve.decoders": 0}
    service = make_app(load_settings(given).settings)
    with TestClient(service.asgi, "http://localhost", client=("127.0.0.1", 50_000)) as client:
        assert client.post("/predict", content=digits.pngs(0)[0]).status_code == 200
        client.app_state = service.app.state  # type: ignore[attr-defined]
        yield client


def exposed(client: TestClient) -> Exposed:
    """Every metric by the name that one asks Prometheus for: its type and its labels."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in text_string_to_metric_families(client.get("/metrics").text)
    }


def documented() -> Iterator[tuple[str, tuple[str, set[str]]]]:
    for line in section("docs/http.md", "Metrics").splitlines():
        if line.startswith("| `"):
            name, kind, labels, meaning = (cell.strip() for cell in line.strip("|").split("|"))
            assert meaning
            yield name.strip("`"), (kind, set(re.findall("`(.+?)`", labels)))


def test_every_metric_is_explained_with_its_type_and_labels(client: TestClient) -> None:
    assert exposed(client) == dict(documented())


def test_the_states_that_are_explained_are_those_that_there_are() -> None:
    for name, states in (("everclass_tasks", TaskState), ("everclass_versions", VersionState)):
        (row,) = (line for line in section("docs/http.md", "Metrics").splitlines() if f"`{name}`" in line)
        assert set(re.findall("`(.+?)`", row)) == {name, "state", *states}


def test_metrics_tell_of_the_learner_its_queue_and_the_disk(client: TestClient) -> None:
    ledger = client.app_state.assembly.ledger  # type: ignore[attr-defined]
    before = values(client)
    assert before["everclass_learner_alive"] == 0
    assert before['everclass_tasks{state="done"}'] == 3
    assert before['everclass_versions{state="ready"}'] == 3
    assert before["everclass_oldest_queued_task_age_seconds"] == 0
    assert before["everclass_data_disk_free_bytes"] > 0
    assert ledger.acquire_lease("learner", "a learner", socket.gethostname(), 30) is not None
    picture = ("7.png", digits.pngs(7)[0])
    assert client.post("/learn", files=[("images", picture)], data={"labels": "7"}).status_code == 202
    after = values(client)
    assert (after["everclass_learner_alive"], after['everclass_tasks{state="queued"}']) == (1, 1)
    assert 0 <= after["everclass_learner_heartbeat_age_seconds"] < 30
    assert 0 < after["everclass_oldest_queued_task_age_seconds"] < 30


def values(client: TestClient) -> dict[str, float]:
    """Every line of the text."""
    lines = (line for line in client.get("/metrics").text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
