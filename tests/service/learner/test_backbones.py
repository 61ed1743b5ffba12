"""The same story on other architectures: with BatchNorm, with real weights, and with those that come embedded."""

from pathlib import Path

import numpy as np
import pytest

from stream.manifest import load_manifest, load_parts
from tests import tiny_weights
from tests.digits import labelled
from tests.service.learner.test_story import snapshot
from tests.service.learner.world import World


def learn_twice(world: World, count: int) -> list[float | None]:
    """Two tasks of two digits; the accuracies of their versions, all of which are in order."""
    accuracies = []
    for digits in ((0, 1), (2, 3)):
        task, versions = world.learn(labelled(*digits, count=count))
        assert task.state == "done", task.reason
        assert [version.state for version in versions][-1] == "ready"
        accuracies += [version.accuracy for version in versions]
    return accuracies


def test_batch_norm_s_running_statistics_stay_where_they_are(tmp_path: Path) -> None:
    weights = tiny_weights.make("test_efficientnet", tmp_path)
    world = World.new(tmp_path, backbone="test_efficientnet", weights=weights)
    learn_twice(world, 12)
    first, last = (snapshot(world, world.ledger.version(number)).backbone for number in (1, 4))
    running = [name for name in first if "running_" in name]
    assert running
    assert all(np.array_equal(first[name], last[name]) for name in running)
    assert any(not np.array_equal(first[name], last[name]) for name in first if name not in running)
    world.close()


def test_the_embedded_weights_tell_digits_apart(tmp_path: Path) -> None:
    """Steps that would move features further than the classes lie apart are not taken."""
    embedded = {"backbone": "tf_efficientnet_lite0", "weights": None, "image_size": 64}
    world = World.new(tmp_path, **embedded, learn__min_steps=24, learn__move_backbone="if_better")
    accuracies = learn_twice(world, 40)
    first_provisional, last_final = accuracies[0], accuracies[-1]
    assert first_provisional is not None and first_provisional > 0.8
    assert last_final is not None and last_final > 0.8
    world.close()


@pytest.mark.parametrize(("runtime", "pooling"), [("onnxruntime", "pretrained"), ("openvino-fp32", None)])
def test_a_vision_transformer_with_real_weights_serves_from_either_runtime(
    shared: Path, tmp_path: Path, runtime: str, pooling: str | None
) -> None:
    weights = shared / "data" / "weights" / "vit_tiny_patch16_224.safetensors"
    flags = {"backbone": "vit_tiny_patch16_224", "weights": weights, "image_size": 112, "serve__runtime": runtime}
    world = World.new(tmp_path, **flags, pooling=pooling)
    accuracies = learn_twice(world, 20)
    assert min(accuracy for accuracy in accuracies if accuracy is not None) > 0.6
    version = world.ledger.version(4)
    manifest = load_manifest(world.blobs, version.digest)
    assert version.runtime == runtime
    assert snapshot(world, version).aligned.feature_dim == (384 if pooling is None else 192)
    assert set(load_parts(world.blobs, manifest, manifest.parts)) >= {"backbone", "graph", "head", "learner", "judged"}
    world.close()
