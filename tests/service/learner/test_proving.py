"""A version serves with a runtime that answers as the learner does, and is damaged only where none does."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.judging.agreement import FEWEST_IMAGES, Agreement, Choice
from model.runtime import RuntimeKind, available_runtimes, machine_type
from model.runtime.onnx_session import OnnxSession
from model.runtime.openvino_model import OpenvinoModel
from service.learner.device import DeviceLost
from service.learner.process import LearnerProcess
from service.predicting.loading import Loader
from stream.manifest import load_manifest
from stream.versions import Version
from tests.digits import labelled
from tests.service.learner.world import World

FAST: RuntimeKind = "openvino-fp32"


@pytest.fixture
def world(tmp_path: Path, seed: Path) -> Iterator[World]:
    left_open = World.new(tmp_path, seed, serve__runtime="auto")
    yield left_open
    left_open.close()


def graph_key(world: World, version: Version) -> str:
    key: str = load_manifest(world.blobs, version.digest).description["graph_key"]
    return key


def choice(world: World, version: Version) -> Choice:
    decided = world.ledger.runtime_choice(graph_key(world, version), machine_type())
    assert decided is not None
    return Choice.from_json(decided)


def choose(world: World, version: Version, *agreed: RuntimeKind) -> None:
    """As if so many images had been judged: the first is the fastest."""
    lease = world.ledger.acquire_lease("learner", "test", "here", 60)
    assert lease is not None
    agreements = tuple(
        Agreement(kind, FEWEST_IMAGES, 1.0, 0.0, 100.0 - place, True) for place, kind in enumerate(agreed)
    )
    made = Choice(agreed[0], "said by a test", True, agreements).to_json()
    world.ledger.record_runtime_choice(lease, graph_key(world, version), machine_type(), made)
    world.ledger.release_lease(lease)


def loads_with(world: World, version: Version) -> RuntimeKind:
    loader = Loader(world.ledger, world.blobs, world.settings.serve)
    return loader.runtime_for(load_manifest(world.blobs, version.digest))


def answer_otherwise(monkeypatch: pytest.MonkeyPatch, runtime: type[Any]) -> None:
    """A runtime that computes something else from now on."""
    features = runtime.features
    monkeypatch.setattr(runtime, "features", lambda self, pixels_BHWC: -features(self, pixels_BHWC))


def fails(*_: object, **__: object) -> None:
    raise RuntimeError("an operator is missing")


def test_the_first_final_version_of_enough_images_decides_which_runtime_serves(world: World) -> None:
    _, (provisional, final) = world.learn(labelled(0, 1, count=FEWEST_IMAGES // 2))
    decided = choice(world, final)
    assert {one.runtime for one in decided.agreements} == set(available_runtimes())
    fastest = max((one for one in decided.agreements if one.accepted), key=lambda one: one.images_per_s)
    assert decided.kind == fastest.runtime == final.runtime == loads_with(world, final)
    assert provisional.runtime == "onnxruntime" and decided.exceptions == {}


def test_a_version_that_the_chosen_runtime_answers_otherwise_is_served_by_a_slower_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (_, first) = world.learn(labelled(0, 1, count=20))
    choose(world, first, FAST, "onnxruntime")
    with monkeypatch.context() as patched:
        answer_otherwise(patched, OpenvinoModel)
        _, (provisional, final) = world.learn(labelled(2, 3, count=20))
    assert [(one.state, one.runtime, one.reason) for one in (provisional, final)] == [
        ("deleted", "onnxruntime", "no longer needed"),
        ("ready", "onnxruntime", None),
    ]
    assert [loads_with(world, one) for one in (first, final)] == [FAST, "onnxruntime"]
    _, (_, later) = world.learn(labelled(4, 5, count=20))
    assert (later.state, later.runtime, loads_with(world, later)) == ("ready", FAST, FAST)
    assert set(choice(world, later).exceptions) == {provisional.digest, final.digest}


def test_a_version_that_the_runtime_asked_for_answers_otherwise_is_held(
    tmp_path: Path, seed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.new(tmp_path, seed, serve__runtime=FAST)
    answer_otherwise(monkeypatch, OpenvinoModel)
    _, versions = world.learn(labelled(0, 1, count=20))
    reason = f"{FAST} answers otherwise than the learner on some of 32 images, and serve.runtime asks for it"
    assert [(one.state, one.reason, one.runtime) for one in versions] == [("held", reason, FAST)] * 2
    world.close()


def test_a_version_that_no_runtime_answers_right_is_damaged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_otherwise(monkeypatch, OpenvinoModel)
    answer_otherwise(monkeypatch, OnnxSession)
    _, versions = world.learn(labelled(0, 1, count=20))
    assert [(one.state, one.reason) for one in versions] == [
        ("damaged", "onnxruntime answers otherwise than the learner on some of 32 images")
    ] * 2
    assert world.ledger.serving() is None


@pytest.mark.parametrize("call", ["__init__", "features"])
def test_a_runtime_that_fails_on_a_version_is_one_that_does_not_answer_right(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    _, (_, first) = world.learn(labelled(0, 1, count=20))
    choose(world, first, FAST)
    monkeypatch.setattr(OpenvinoModel, call, fails)
    _, (_, final) = world.learn(labelled(2, 3, count=20))
    assert (final.state, final.runtime, loads_with(world, final)) == ("ready", "onnxruntime", "onnxruntime")


@pytest.mark.parametrize("call", ["__init__", "features"])
def test_a_runtime_that_loses_the_device_takes_the_learner_with_it_and_no_version(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    _, (_, first) = world.learn(labelled(0, 1, count=20))
    choose(world, first, FAST)
    task = world.send(labelled(2, 3, count=20))

    def lost(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with monkeypatch.context() as patched:
        patched.setattr(OpenvinoModel, call, lost)
        with pytest.raises(DeviceLost):
            LearnerProcess(world.settings, world.ledger, threading.Event()).run()
    assert world.ledger.task(task.id).state == "learning" and choice(world, first).exceptions == {}
    world.learn_all()
    assert world.ledger.task(task.id).state == "done"


def test_where_every_runtime_fails_the_task_fails_and_learns_once_they_work_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(OnnxSession, "features", fails)
        failed, versions = world.learn(labelled(0, 1, count=20))
    assert (failed.state, failed.reason, versions) == ("failed", "RuntimeError: an operator is missing", [])
    world.ledger.retry(failed.id)
    world.learn_all()
    assert world.ledger.task(failed.id).state == "done"


def test_what_this_machine_lacks_damages_no_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "model.runtime.onnx_session", None)
        failed, versions = world.learn(labelled(0, 1, count=20))
    lacks = "the package for onnxruntime is not installed"
    assert (failed.state, failed.reason, versions) == ("failed", lacks, [])
    world.ledger.retry(failed.id)
    world.learn_all()
    assert world.ledger.task(failed.id).state == "done" and world.ledger.serving() is not None


def test_choices_from_before_there_were_exceptions_read_back() -> None:
    made = Choice("onnxruntime", "why", True, ()).to_json()
    del made["exceptions"]
    assert Choice.from_json(made).exceptions == {}
