"""A backbone is timm's own network, from pixels, without its classifier."""

import resource
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from model.backbones.backbone import (
    FRESH_NORM_EPSILON,
    PixelBackbone,
    WeightsError,
    autocast,
    build,
    check_fits,
    default_pooling,
    extract_features,
)
from model.backbones.spec import BackboneSpec
from tests.model.conftest import small_spec


def pixels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3)).astype(np.uint8)


def small(count: int) -> np.ndarray:
    return pixels(count)[:, :32, :32]


def seeded(spec: BackboneSpec, seed: int = 0) -> PixelBackbone:
    torch.manual_seed(seed)
    return build(spec)


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "mobilenetv3_small_050"])
def test_features_are_what_timm_s_classifier_would_see(name: str) -> None:
    spec = small_spec(name)
    backbone = seeded(replace(spec, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)))
    images = pixels(3) / 255
    normalised = (images - (0.5, 0.4, 0.3)) / (0.2, 0.3, 0.4)
    with torch.inference_mode():
        expected = backbone.network(torch.tensor(normalised.transpose(0, 3, 1, 2), dtype=torch.float32))
        features = backbone(torch.from_numpy(pixels(3)))
    assert features.shape == (3, backbone.feature_dim) and features.dtype == torch.float32
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_a_transformer_s_feature_is_its_class_token_after_the_norm() -> None:
    backbone = seeded(small_spec("test_vit"))
    images = torch.from_numpy(pixels(2))
    with torch.inference_mode():
        tokens = backbone.network.forward_features((images / 255 - 0.5).permute(0, 3, 1, 2) / 0.5)
        torch.testing.assert_close(backbone(images), tokens[:, 0])


def test_beside_the_class_token_stands_the_mean_of_the_patches() -> None:
    backbone = seeded(small_spec("test_vit", "token+avg"))
    images = torch.from_numpy(pixels(2))
    with torch.inference_mode():
        tokens = backbone.network.forward_features((images / 255 - 0.5).permute(0, 3, 1, 2) / 0.5)
        torch.testing.assert_close(backbone(images), torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1))
    assert backbone.feature_dim == 2 * seeded(small_spec("test_vit")).feature_dim == 2 * backbone.token_dim


def test_a_rule_for_unknown_images_is_of_the_class_token_where_more_stands_behind_it(spec: BackboneSpec) -> None:
    backbone = build(spec)
    expected = backbone.token_dim if spec.pooling == "token+avg" else backbone.feature_dim
    assert spec.novelty_dim(backbone.feature_dim) == expected


def test_two_class_tokens_are_no_patches() -> None:
    spec = BackboneSpec("deit_tiny_distilled_patch16_224", 32, (0.5,) * 3, (0.5,) * 3, pooling="token+avg")
    backbone = seeded(spec)
    with torch.inference_mode():
        tokens = backbone.network.forward_features((torch.from_numpy(small(2)) / 255 - 0.5).permute(0, 3, 1, 2) / 0.5)
        features = backbone(torch.from_numpy(small(2)))
    expected = torch.cat([(tokens[:, 0] + tokens[:, 1]) / 2, tokens[:, 2:].mean(dim=1)], dim=1)
    torch.testing.assert_close(features, expected)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit2", "test_vit3"])
def test_without_a_class_token_nothing_can_stand_beside_it(name: str) -> None:
    with pytest.raises(WeightsError, match=f"pooling: {name} does not give"):
        build(small_spec(name, "token+avg"))


def test_a_fresh_norm_has_unit_scale_no_shift_and_the_reference_s_epsilon() -> None:
    norm = build(replace(small_spec("test_vit"), norm="fresh")).network.norm
    assert norm.eps == FRESH_NORM_EPSILON == 1e-5
    assert (norm.weight == 1).all() and (norm.bias == 0).all()


def test_a_network_without_a_last_layer_norm_cannot_have_a_fresh_one() -> None:
    with pytest.raises(WeightsError, match="LayerNorm"):
        build(replace(small_spec("test_efficientnet"), norm="fresh"))


@pytest.mark.parametrize("name", ["no_such_net", "vit_tiny_patch16_224.no_such_tag"])
def test_a_name_unknown_to_timm_is_refused(name: str) -> None:
    with pytest.raises(WeightsError, match=name):
        build(replace(small_spec("test_vit"), name=name))


def test_running_statistics_stay_while_training() -> None:
    backbone = seeded(small_spec("test_efficientnet"))
    before = {name: value for name, value in backbone.state().items() if "running" in name}
    backbone.train()
    backbone(torch.from_numpy(pixels(4))).sum().backward()
    assert before and all(torch.equal(value, backbone.state()[name]) for name, value in before.items())
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert backbone.network.training and not any(norm.training for norm in norms)
    assert all(norm.weight.grad is not None for norm in norms)


def test_state_goes_from_one_backbone_into_another(spec: BackboneSpec) -> None:
    one, other = seeded(spec), seeded(spec, seed=1)
    assert any(not torch.equal(value, other.state()[name]) for name, value in one.state().items())
    other.load(one.state())
    with torch.inference_mode():
        assert torch.equal(one(torch.from_numpy(pixels(2))), other(torch.from_numpy(pixels(2))))


def test_state_is_a_copy_of_plain_float_tensors(spec: BackboneSpec) -> None:
    backbone = build(spec)
    state = backbone.state()
    for value in state.values():
        assert value.is_contiguous() and value.dtype == torch.float32 and not value.requires_grad
        value.zero_()
    assert backbone.pixel_std.min() > 0


def test_weights_bring_their_own_normalisation() -> None:
    other = replace(small_spec("test_vit"), mean=(0.1, 0.2, 0.3))
    backbone = build(small_spec("test_vit"))
    backbone.load(build(other).state())
    torch.testing.assert_close(backbone.pixel_mean, torch.tensor([0.1, 0.2, 0.3]))


def test_weights_that_do_not_fit_are_named() -> None:
    backbone = build(small_spec("test_vit"))
    state = backbone.state()
    state["surplus"] = state.pop("network.norm.bias")
    state["network.cls_token"] = torch.zeros(2)
    with pytest.raises(WeightsError) as raised:
        backbone.load(state)
    assert str(raised.value).endswith(
        "missing: network.norm.bias; unexpected: surplus; of another shape: network.cls_token"
    )


def test_features_come_in_order_whatever_the_batches() -> None:
    backbone, views, seen = seeded(small_spec("test_vit")).train(), pixels(5), []
    parts = extract_features(backbone, iter(views), batch_size=2, on_batch=seen.append)
    whole = extract_features(backbone, views, batch_size=64)
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    assert seen == [2, 4, 5] and parts.dtype == np.float32 and backbone.training


def test_no_views_give_no_features() -> None:
    assert extract_features(build(small_spec("test_vit")), [], batch_size=4).shape == (0, 64)


def test_a_listener_may_stop_the_extraction() -> None:
    def stop(done: int) -> Any:
        raise InterruptedError(done)

    backbone = build(small_spec("test_vit")).train()
    with pytest.raises(InterruptedError):
        extract_features(backbone, pixels(3), batch_size=1, on_batch=stop)
    assert backbone.training


def test_bf16_features_are_float32_and_near() -> None:
    backbone = seeded(small_spec("test_vit"))
    exact = extract_features(backbone, pixels(3), batch_size=3)
    rounded = extract_features(backbone, pixels(3), batch_size=3, precision="bf16")
    assert rounded.dtype == np.float32
    assert 0 < np.abs(exact - rounded).max() < 0.1


def test_other_image_sizes_than_the_weights_own_are_built() -> None:
    sides = {
        size: build(replace(small_spec("test_vit"), image_size=size)).network.pos_embed.shape[1] for size in (32, 96)
    }
    assert sides == {32: 1 + 2 * 2, 96: 1 + 6 * 6}
    assert timm.get_pretrained_cfg("test_vit").input_size[-1] not in sides


def test_whether_weights_fit_is_seen_without_the_memory_that_the_network_takes(spec: BackboneSpec) -> None:
    check_fits(spec, build(spec).state())
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    giant = replace(small_spec("test_vit"), name="vit_gigantic_patch14_224", image_size=224)
    with pytest.raises(WeightsError, match="do not fit the backbone"):
        check_fits(giant, build(spec).state())
    with torch.device("meta"):
        large = build(replace(giant, name="vit_relpos_small_patch16_224", image_size=1024))
    tables = {name: torch.empty(value.shape, device="meta") for name, value in large._weights().items()}
    with pytest.raises(WeightsError, match="MiB beside its weights"):
        check_fits(large.spec, tables)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 1 << 20


@pytest.mark.parametrize(
    ("name", "pooling"),
    [("test_vit", "token+avg"), ("test_efficientnet", "pretrained"), ("test_vit3", "pretrained")],
)
def test_only_networks_with_a_class_token_get_longer_features_by_default(name: str, pooling: str) -> None:
    assert default_pooling(name) == pooling


def test_no_pooling_is_found_for_a_network_that_there_is_not() -> None:
    with pytest.raises(WeightsError, match="timm knows no backbone"):
        default_pooling("no_such_network")


def heads_of(backbone: PixelBackbone) -> list[bool]:
    return [block.attn.fused_attn for block in backbone.network.blocks]


def test_attention_in_bf16_on_a_cpu_is_spelt_out_meanwhile_and_says_the_same() -> None:
    backbone, images = seeded(small_spec("test_vit")), torch.from_numpy(pixels(2))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        fused = backbone(images)
    with torch.inference_mode(), autocast(backbone, "bf16"):
        assert not any(heads_of(backbone))
        spelt_out = backbone(images)
    assert all(heads_of(backbone)) and spelt_out.dtype == fused.dtype
    torch.testing.assert_close(spelt_out.float(), fused.float(), rtol=0, atol=0.05)


def test_attention_stays_fused_in_single_precision_and_where_tokens_are_many() -> None:
    backbone = seeded(small_spec("test_vit"))
    with autocast(backbone, "fp32"):
        assert all(heads_of(backbone))
    large = seeded(replace(small_spec("test_vit"), image_size=16 * 17))
    with autocast(large, "bf16"):
        assert all(heads_of(large))


def test_attention_is_fused_again_after_a_fault() -> None:
    backbone = seeded(small_spec("test_vit"))
    with pytest.raises(KeyError), autocast(backbone, "bf16"):
        raise KeyError
    assert all(heads_of(backbone))


NARROW = """
import torch
from model.backbones.backbone import build
from model.backbones.spec import BackboneSpec

torch.set_num_threads(2)
backbone = build(BackboneSpec("repvgg_a0", 128, (0.5,) * 3, (0.5,) * 3)).train()
pixels_BHWC = torch.randint(0, 256, (8, 128, 128, 3), dtype=torch.uint8)
for _ in range(6):
    backbone(pixels_BHWC).square().mean().backward()
"""


def test_a_network_whose_stem_strides_without_looking_learns_on_a_cpu() -> None:
    done = subprocess.run([sys.executable, "-c", NARROW], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
