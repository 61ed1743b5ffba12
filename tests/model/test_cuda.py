"""What runs on a GPU does there what it does on a CPU; skipped where there is none."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.backbones.backbone import PixelBackbone, Precision, build, extract_features
from model.backbones.precision import device_of, precision_of
from model.backbones.spec import BackboneSpec
from model.heads.alignment import AlignmentPlan, align
from model.heads.head import Head
from model.methods import METHODS
from model.runtime import best_device, open_runtime
from model.statistics.class_statistics import ClassStatistics
from model.training.tuning import TuningPlan, TuningProgress, tune
from model.training.tuning_state import TuningState
from model.tuners import FullTuner
from tests.model import check_method
from tests.model.conftest import small_spec
from tests.model.pictures import Pictures, made

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

PLAN = TuningPlan(epochs=4, batch_size=8, micro_batch=8, milestones=(3,), backbone_lr=1e-3, seed=5, view_threads=2)


def equipped(spec: BackboneSpec, device: str) -> PixelBackbone:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = build(spec)
    FullTuner().begin(backbone, 1, 0)
    return backbone.to(device)


def pictures() -> Pictures:
    shown, labels = made(range(3), 8)
    return Pictures(shown, np.array([int(label[1:]) for label in labels]))


def some_head(backbone: PixelBackbone) -> Head:
    rng = np.random.default_rng(0)
    return Head(rng.standard_normal((3, backbone.feature_dim)) * 0.02, np.zeros(3))


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_single_precision_learns_what_a_cpu_learns(name: str) -> None:
    on_cpu, on_gpu = (equipped(small_spec(name), device) for device in ("cpu", "cuda"))
    expected = tune(on_cpu, pictures(), some_head(on_cpu), PLAN)
    found = tune(on_gpu, pictures(), some_head(on_gpu), PLAN)
    np.testing.assert_allclose(
        [one.loss for one in found.history], [one.loss for one in expected.history], rtol=2e-3, atol=2e-3
    )
    np.testing.assert_allclose(found.head.weight_CD, expected.head.weight_CD, atol=1e-3)


def test_the_precision_is_chosen_by_the_gpu_that_is_used() -> None:
    computes_in_bf16 = torch.cuda.get_device_properties(0).major >= 8
    assert device_of("auto") == "cuda"
    assert {precision_of("auto", device, "mobilenetv2_100") for device in ("cuda", "cuda:0")} == {
        "bf16" if computes_in_bf16 else "fp32"
    }


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stopped_run_goes_on_where_it_was(precision: Precision) -> None:
    plan = replace(PLAN, precision=precision)
    saved: list[TuningState] = []

    def stop(progress: TuningProgress) -> None:
        if progress.epoch == 2:
            raise InterruptedError

    whole, stopped = (equipped(small_spec("test_vit"), "cuda") for _ in range(2))
    expected = tune(whole, pictures(), some_head(whole), plan)
    with pytest.raises(InterruptedError):
        tune(stopped, pictures(), some_head(stopped), plan, on_step=stop, on_checkpoint=saved.append)
    found = tune(stopped, pictures(), some_head(stopped), plan, resume=TuningState.from_bytes(saved[-1].to_bytes()))
    assert expected.history[-1].loss < expected.history[0].loss
    np.testing.assert_allclose(found.head.weight_CD, expected.head.weight_CD, atol=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns(name: str) -> None:
    check_method.learns(check_method.tested(name), device="cuda")


def test_alignment_reaches_the_accuracy_of_a_cpu() -> None:
    rng = np.random.default_rng(0)
    centre_CD, columns_N = rng.standard_normal((20, 32)), np.repeat(np.arange(20), 30)
    features_ND = (centre_CD[columns_N] + rng.standard_normal((600, 32))).astype(np.float32)
    statistics, blocks_C = ClassStatistics.from_features(features_ND, columns_N, 20), np.repeat([1, 2], 10)
    start = Head(rng.standard_normal((20, 32)) * 0.02, np.where(blocks_C == 2, 0.5, 0.0))

    def accuracy(device: str) -> float:
        head = align(start, statistics, blocks_C, 2, AlignmentPlan(), seed=1, device=device)
        return float((head.logits(features_ND).argmax(axis=1) == columns_N).mean())

    assert accuracy("cuda") == pytest.approx(accuracy("cpu"), abs=0.02)
    assert accuracy("cuda") > 0.9


@pytest.mark.skipif(best_device() != "cuda", reason="this ONNX Runtime has no CUDA")
@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_onnx_runtime_gives_the_learners_features(name: str, exported: Callable[[BackboneSpec], bytes]) -> None:
    spec = small_spec(name)
    torch.manual_seed(1)
    backbone = build(spec)
    weights = {key: value.numpy() for key, value in backbone.state().items()}
    opened = open_runtime("onnxruntime", exported(spec), weights, threads=1, device="cuda")
    assert opened.name == "onnxruntime cuda fp32"
    for count in (1, 3, 17):
        shape = (count, spec.image_size, spec.image_size, 3)
        shown: NDArray[np.uint8] = np.random.default_rng(count).integers(0, 256, shape).astype(np.uint8)
        expected = extract_features(backbone, shown, batch_size=32)
        np.testing.assert_allclose(opened.features(shown), expected, atol=1e-3 * np.abs(expected).max())
    opened.close()
