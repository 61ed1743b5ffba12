"""What the settings say otherwise than the version in force."""

import logging
from pathlib import Path

import pytest

from service.predicting.readiness import differences
from service.settings import load_settings
from tests.service.conftest import Serve

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
