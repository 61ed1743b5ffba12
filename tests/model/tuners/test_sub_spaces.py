"""EASE's network: each adapter's features stand beside the plain ones, and stay as its task left them."""

import copy

import pytest
import torch

from model.backbones.backbone import PixelBackbone
from model.tuners import AdapterTuner, SubSpaceTuner
from model.tuners.insertion import UnfitBackbone
from tests.model.tuners.test_tuners import network, pixels, step

ADAPTER = AdapterTuner(bottleneck=8)
TUNER = SubSpaceTuner(ADAPTER)


def learned(tasks: int) -> PixelBackbone:
    backbone = network()
    for task in range(1, tasks + 1):
        step(backbone.train(), TUNER, task)
    return backbone.eval()


def adapter(backbone: PixelBackbone, number: int) -> dict[str, torch.Tensor]:
    """The weights of one adapter, under the names that a single one has."""
    kept = TUNER.taken_apart(backbone).kept
    return {name.removesuffix(f"_{number}"): value for name, value in kept.items() if name.endswith(f"_{number}")}


def test_features_are_those_of_the_plain_network_and_of_each_adapter_alone() -> None:
    backbone = learned(2)
    parts = backbone(pixels()).detach().split(backbone.feature_dim, dim=1)
    assert len(parts) == 3
    torch.testing.assert_close(parts[0], network()(pixels()))
    for number in (1, 2):
        single = network()
        ADAPTER.equip(single, adapter(backbone, number))
        torch.testing.assert_close(parts[number], single(pixels()))
        assert float((parts[number] - parts[0]).abs().max()) > 1e-3
    assert float((parts[1] - parts[2]).abs().max()) > 1e-3


def test_a_later_task_changes_nothing_in_earlier_sub_spaces() -> None:
    first, second = learned(1), learned(2)
    width = 2 * first.feature_dim
    torch.testing.assert_close(second(pixels())[:, :width], first(pixels()), atol=0, rtol=0)


def test_a_task_is_learned_in_its_own_sub_space_and_moves_its_own_adapter() -> None:
    backbone = learned(1)
    TUNER.begin(backbone, 2, seed=2)
    assert {name.rpartition("_")[2] for name, one in backbone.named_parameters() if one.requires_grad} == {"2"}
    (group,) = TUNER.groups(backbone, 2)
    assert group.ratio == 1.0 and len(group.parameters) == 4 * len(backbone.network.blocks)
    evaluated = backbone(pixels())
    trained = backbone.train()(pixels())
    assert trained.shape == (4, backbone.feature_dim)
    torch.testing.assert_close(trained, evaluated[:, -backbone.feature_dim :])


def test_what_is_taken_apart_and_put_together_computes_the_same() -> None:
    first, second = learned(2), network()
    apart = TUNER.taken_apart(first)
    second.load(apart.plain)
    TUNER.equip(second, apart.kept)
    torch.testing.assert_close(second.eval()(pixels()), first(pixels()), atol=0, rtol=0)
    torch.testing.assert_close(copy.deepcopy(second)(pixels()), first(pixels()), atol=0, rtol=0)


def test_a_plain_network_has_plain_features() -> None:
    backbone = network()
    TUNER.equip(backbone, {})
    assert backbone(pixels()).shape == (4, backbone.feature_dim)


def test_it_needs_a_vision_transformer() -> None:
    with pytest.raises(UnfitBackbone, match="test_efficientnet"):
        TUNER.begin(network("test_efficientnet"), 1, seed=0)
