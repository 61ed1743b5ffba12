"""Why nothing answers, and what the settings say otherwise than the version in force."""

import logging
import socket
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.predicting.readiness import differences
from service.settings import load_settings
from stream.versions import VersionState
from tests import digits
from tests.service.conftest import Serve
from tests.service.pictures import files
from tests.stream.stories import claimed, learner, publish

OLD = {"spec": {"name": "test_vit", "image_size": 32, "norm": "pretrained"}, "method": "slca"}
"""Of a version made before features could be pooled in more than one way."""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, []),
        ({"pooling": "token+avg"}, ["pooling is set to token+avg, the version in force has pretrained"]),
        ({"method": "slca++"}, ["method is set to slca++, the version in force has slca"]),
        ({"norm": "fresh"}, ["norm is set to fresh, the version in force has pretrained"]),
    ],
)
def test_only_what_was_asked_for_can_be_overruled(settings: dict[str, str], said: list[str]) -> None:
    asked = load_settings({"backbone": "test_vit", **settings}).settings
    assert list(differences(asked, OLD)) == said


def test_longer_features_in_force_are_told_of_where_others_were_asked_for() -> None:
    long = {**OLD, "spec": {**OLD["spec"], "pooling": "token+avg"}}
    asked = {"backbone": "test_vit", "pooling": "pretrained"}
    told = "pooling is set to pretrained, the version in force has token+avg"
    assert list(differences(load_settings(asked).settings, long)) == [told]
    assert not list(differences(load_settings({"backbone": "test_vit"}).settings, long))


def test_what_is_overruled_stands_in_the_log_and_the_answer(
    serve: Serve, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "service.app"):
        client = serve(folder, backbone="test_vit", method="slca++")
    told = client.get("/readyz").json()["differs"]
    assert [sentence.partition(",")[0] for sentence in told] == ["method is set to slca++"]
    assert [record.getMessage() for record in caplog.records if record.name == "service.app"] == told


@pytest.mark.parametrize(
    ("versions", "reason"),
    [
        ((), "there is no version yet"),
        (("provisional",), "no version is in force; 1 is held: promote it"),
        (("provisional", "final"), "no version is in force; 2 are held: promote one"),
    ],
)
def test_where_nothing_is_in_force_the_answers_say_whether_there_is_something_to_promote(
    serve: Serve, versions: tuple[str, ...], reason: str
) -> None:
    client = serve()
    ledger = client.app_state.assembly.ledger
    if versions:
        lease = learner(ledger, host=socket.gethostname())
        task = claimed(ledger, lease, promote="manual")
        for kind in versions:
            publish(ledger, lease, task, kind)
    ready, said = client.get("/readyz"), client.post("/predict", files=files(digits.pngs(0)[0]))
    assert (ready.status_code, ready.json()["ready"], ready.json()["reason"]) == (503, False, reason)
    assert (said.status_code, said.json()["detail"]) == (503, reason)


def test_damaged_versions_are_no_lack_of_versions(serve: Serve) -> None:
    client = serve()
    ledger = client.app_state.assembly.ledger
    lease = learner(ledger, host=socket.gethostname())
    version, _ = publish(ledger, lease, claimed(ledger, lease), "final", wanted="damaged")
    assert version.state == VersionState.DAMAGED
    assert client.get("/readyz").json()["reason"] == "no version is in force; 1 cannot serve: damaged"


def test_a_server_that_stops_says_so(client: TestClient) -> None:
    assert client.get("/readyz").json()["reason"] is None
    client.app_state.assembly.traffic.draining = True
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["reason"]) == (503, "the server is stopping")
