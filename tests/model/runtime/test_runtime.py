"""Every runtime gives the learner's own features, image by image, from any version's weights over one graph."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from model import runtime
from model.backbones.backbone import PixelBackbone, build, extract_features
from model.backbones.spec import BackboneSpec
from model.runtime import (
    Device,
    GraphMismatch,
    RuntimeKind,
    RuntimeUnavailable,
    available_runtimes,
    best_device,
    machine_type,
    open_runtime,
)
from tests.model.conftest import small_spec

Graphs = Callable[[BackboneSpec], bytes]
KINDS = available_runtimes()


def pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 64, 64, 3)).astype(np.uint8)


def version(spec: BackboneSpec, seed: int) -> tuple[PixelBackbone, dict[str, NDArray[np.generic]]]:
    """A backbone with weights and running statistics of its own, and its state as a version would store it."""
    torch.manual_seed(seed)
    backbone = build(spec)
    with torch.no_grad():
        for name, value in backbone.state_dict().items():
            if name.endswith(("running_mean", "running_var", "bn1.weight")):
                value.copy_(torch.rand_like(value) * 0.5 + 0.75)
    return backbone, {name: value.numpy() for name, value in backbone.state().items()}


def tolerance(kind: RuntimeKind, features: NDArray[np.float32]) -> float:
    return float(np.abs(features).max()) * (0.05 if kind.endswith("bf16") else 1e-5) + 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_the_learner_s_own_for_batches_of_any_size(
    kind: RuntimeKind, spec: BackboneSpec, exported: Graphs
) -> None:
    backbone, weights = version(spec, seed=1)
    opened = open_runtime(kind, exported(spec), weights, threads=1)
    for count in (1, 2, 5, 17):
        expected = extract_features(backbone, pixels(count), batch_size=32)
        features = opened.features(pixels(count))
        assert features.dtype == np.float32 and features.shape == expected.shape
        assert np.abs(features - expected).max() <= tolerance(kind, expected)
    opened.close()


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_s_features_do_not_depend_on_its_batch(
    kind: RuntimeKind, spec: BackboneSpec, exported: Graphs
) -> None:
    opened = open_runtime(kind, exported(spec), version(spec, seed=1)[1], threads=1)
    together = opened.features(pixels(11))
    alone = np.concatenate([opened.features(one[None]) for one in pixels(11)])
    parts = np.concatenate([opened.features(part) for part in np.split(pixels(11), [4, 9])])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_allclose(together, parts, atol=1e-4)
    opened.close()


@pytest.mark.parametrize("kind", KINDS)
def test_one_graph_serves_versions_of_other_weights_and_other_normalisation(
    kind: RuntimeKind, exported: Graphs
) -> None:
    spec = small_spec("test_vit")
    other = replace(spec, mean=(0.1, 0.2, 0.3), std=(0.9, 0.8, 0.7))
    for backbone, weights in (version(spec, seed=1), version(other, seed=2)):
        opened = open_runtime(kind, exported(spec), weights, threads=1)
        expected = extract_features(backbone, pixels(3), batch_size=3)
        assert np.abs(opened.features(pixels(3)) - expected).max() <= tolerance(kind, expected)
        opened.close()


@pytest.mark.parametrize("kind", KINDS)
def test_open_runtimes_keep_their_own_weights(kind: RuntimeKind, exported: Graphs) -> None:
    spec = small_spec("test_vit")
    first = open_runtime(kind, exported(spec), version(spec, seed=1)[1], threads=1)
    before = first.features(pixels(2))
    second = open_runtime(kind, exported(spec), version(spec, seed=2)[1], threads=1)
    assert np.abs(second.features(pixels(2)) - before).max() > 0.1
    second.close()
    np.testing.assert_array_equal(first.features(pixels(2)), before)


@pytest.mark.parametrize("kind", KINDS)
def test_images_in_any_memory_layout_are_taken(kind: RuntimeKind, exported: Graphs) -> None:
    spec = small_spec("test_vit")
    opened = open_runtime(kind, exported(spec), version(spec, seed=1)[1], threads=1)
    turned = pixels(3).transpose(0, 2, 1, 3)
    np.testing.assert_allclose(opened.features(turned), opened.features(np.ascontiguousarray(turned)), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_version_opens_in_well_under_a_second(kind: RuntimeKind, exported: Graphs) -> None:
    spec = small_spec("test_efficientnet")
    graph, weights = exported(spec), version(spec, seed=1)[1]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        open_runtime(kind, graph, weights, threads=1).close()
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_missing_or_misshapen_are_named(kind: RuntimeKind, exported: Graphs) -> None:
    spec = small_spec("test_vit")
    graph, weights = exported(spec), version(spec, seed=1)[1]
    with pytest.raises(GraphMismatch, match=r"lack.*network\.cls_token"):
        open_runtime(kind, graph, {name: weights[name] for name in weights if name != "network.cls_token"}, threads=1)
    for wrong in (np.zeros(3, np.float32), weights["network.cls_token"].astype(np.float64)):
        with pytest.raises(GraphMismatch, match=r"shape or type.*network\.cls_token"):
            open_runtime(kind, graph, {**weights, "network.cls_token": wrong}, threads=1)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_the_graph_does_not_ask_for_are_left_alone(kind: RuntimeKind, exported: Graphs) -> None:
    spec = small_spec("test_vit")
    weights = {**version(spec, seed=1)[1], "surplus": np.zeros(1, np.float32)}
    assert open_runtime(kind, exported(spec), weights, threads=1).features(pixels(1)).shape == (1, 64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["text", "empty", "cut"])
def test_a_damaged_graph_is_refused(kind: RuntimeKind, damage: str, exported: Graphs) -> None:
    spec = small_spec("test_vit")
    graph = exported(spec)
    damaged = {"text": b"not a graph at all", "empty": b"", "cut": graph[: len(graph) // 2]}[damage]
    with pytest.raises(GraphMismatch):
        open_runtime(kind, damaged, version(spec, seed=1)[1], threads=1)


def test_the_name_says_what_runs_where(exported: Graphs) -> None:
    spec = small_spec("test_vit")
    weights = version(spec, seed=1)[1]
    names = {kind: open_runtime(kind, exported(spec), weights, threads=1).name for kind in KINDS}
    expected = {
        "onnxruntime": "onnxruntime cpu fp32",
        "openvino-fp32": "openvino cpu fp32",
        "openvino-bf16": "openvino cpu bf16",
    }
    assert names == {kind: expected[kind] for kind in KINDS}


def test_a_gpu_that_is_not_there_is_not_used(exported: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    spec = small_spec("test_vit")
    assert best_device() == "cpu"
    with pytest.raises(RuntimeUnavailable, match="CUDA"):
        open_runtime("onnxruntime", exported(spec), version(spec, seed=1)[1], threads=1, device="cuda")


def test_a_session_that_fell_back_to_the_cpu_is_refused(exported: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.runtime.onnx_session._PROVIDERS", {"cuda": "AzureExecutionProvider"})
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider"])
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda self: ["CPUExecutionProvider"])
    spec, device = small_spec("test_vit"), "cuda"
    assert device in Device.__args__  # type: ignore[attr-defined]
    with pytest.raises(RuntimeUnavailable, match="could not start on cuda"):
        open_runtime("onnxruntime", exported(spec), version(spec, seed=1)[1], threads=1, device="cuda")


@pytest.mark.skipif("openvino-fp32" not in KINDS, reason="OpenVINO is not installed")
def test_bf16_is_refused_where_the_cpu_has_none(exported: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.runtime.openvino_model.has_bf16", lambda: False)
    assert "openvino-bf16" not in available_runtimes()
    spec = small_spec("test_vit")
    with pytest.raises(RuntimeUnavailable, match="bf16"):
        open_runtime("openvino-bf16", exported(spec), version(spec, seed=1)[1], threads=1)


def test_runtimes_that_are_not_installed_are_neither_offered_nor_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "find_spec", lambda name: None)
    assert available_runtimes() == () and best_device() == "cpu"
    for module, kind in (("onnx_session", "onnxruntime"), ("openvino_model", "openvino-fp32")):
        monkeypatch.setitem(sys.modules, f"model.runtime.{module}", None)
        with pytest.raises(RuntimeUnavailable, match=f"{kind} is not installed"):
            open_runtime(kind, b"", {}, threads=1)


def test_the_machine_type_is_stable_and_readable() -> None:
    assert machine_type() == machine_type()
    assert re.fullmatch(r"[\w]+-\d+c-\d+g-[0-9a-f]{16}", machine_type())


def test_another_cpu_or_gpu_is_another_machine(tmp_path: Path) -> None:
    cpuinfo, gpus = tmp_path / "cpuinfo", tmp_path / "gpus"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: A\nflags\t\t: avx2\nMHz : 1\n")
    plain = machine_type(cpuinfo=cpuinfo, gpus=gpus)
    cpuinfo.write_text("processor\t: 0\nmodel name\t: A\nflags\t\t: avx2\nMHz : 2\n")
    assert machine_type(cpuinfo=cpuinfo, gpus=gpus) == plain
    cpuinfo.write_text("processor\t: 0\nmodel name\t: A\nflags\t\t: avx2 amx_bf16\n")
    other_cpu = machine_type(cpuinfo=cpuinfo, gpus=gpus)
    (gpus / "0000:01:00.0").mkdir(parents=True)
    (gpus / "0000:01:00.0" / "information").write_text("Model: \t\t Some GPU\nIRQ: 1\n")
    with_gpu = machine_type(cpuinfo=cpuinfo, gpus=gpus)
    assert len({plain, other_cpu, with_gpu, machine_type(cpuinfo=tmp_path / "none", gpus=gpus)}) == 4
    assert "-0g-" in plain and "-1g-" in with_gpu


ON_ITS_OWN = """
import sys
dialled = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        dialled.append(arguments)
sys.addaudithook(watch)
import model.judging.agreement, model.heads.head, model.pixels.images, model.pixels.preprocess, model.served
import numpy as np
from model.runtime import available_runtimes, machine_type, open_runtime
from safetensors.numpy import load_file
machine_type()
weights, graph = load_file(sys.argv[2]), open(sys.argv[1], "rb").read()
for kind in available_runtimes():
    opened = open_runtime(kind, graph, weights, threads=1)
    opened.features(np.zeros((2, 64, 64, 3), np.uint8))
    opened.close()
heavy = [name for name in ("torch", "timm", "sklearn", "torchvision") if name in sys.modules]
telemetry = [name for name, module in sys.modules.items() if "openvino_telemetry" in name and module is not None]
print(heavy, telemetry, dialled)
"""


def test_serving_needs_no_torch_and_dials_no_one(exported: Graphs, tmp_path: Path) -> None:
    spec = small_spec("test_vit")
    (tmp_path / "graph.onnx").write_bytes(exported(spec))
    save_file(version(spec, seed=1)[1], tmp_path / "weights.safetensors")
    command = [sys.executable, "-W", "error", "-c", ON_ITS_OWN, "graph.onnx", "weights.safetensors"]
    root = Path(__file__).parents[3]
    told = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=120, check=True
    )
    assert told.stdout.strip() == "[] [] []"
