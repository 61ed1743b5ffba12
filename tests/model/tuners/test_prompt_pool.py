"""L2P chooses by cosine, answers by the prompts' outputs, and leaves the network that asks as it was."""

import copy

import numpy as np
import pytest
import torch

from model.backbones.backbone import PixelBackbone, build
from model.backbones.spec import BackboneSpec
from model.methods import METHODS
from model.training.stage import Step
from model.tuners import PromptPoolTuner
from model.tuners.insertion import UnfitBackbone
from tests.model.tuners.test_tuners import network, pixels

TUNER = PromptPoolTuner(size=6, length=3, chosen=2)


@pytest.fixture
def pooled() -> PixelBackbone:
    backbone = network()
    TUNER.begin(backbone, 1, seed=4)
    return backbone


def test_the_nearest_keys_by_cosine_are_chosen(pooled: PixelBackbone) -> None:
    query_BD = network()(pixels()).detach().numpy()
    pooled(pixels())
    choice = pooled.network.prompt_choice
    keys_KD = pooled.network.pool_keys_KD.detach().numpy()
    cosine_BK = (query_BD @ keys_KD.T) / np.linalg.norm(query_BD, axis=1)[:, None] / np.linalg.norm(keys_KD, axis=1)
    np.testing.assert_array_equal(choice.rows_BN.numpy(), np.argsort(-cosine_BK, axis=1)[:, :2])
    np.testing.assert_allclose(choice.cosine_BN.detach().numpy(), -np.sort(-cosine_BK, axis=1)[:, :2], atol=1e-5)


def test_the_feature_is_the_mean_of_the_prompts_outputs(pooled: PixelBackbone) -> None:
    plain = network().network
    images = (pixels().float() / 255 - 0.5) / 0.5
    seen: list[torch.Tensor] = []
    handle = plain.blocks[0].register_forward_pre_hook(lambda block, inputs: seen.append(inputs[0]))
    plain.forward_features(images.permute(0, 3, 1, 2))
    handle.remove()
    features_BD = pooled(pixels())
    prompts_BND = pooled.network.pool_prompts_KLD[pooled.network.prompt_choice.rows_BN].flatten(1, 2)
    tokens_BND = torch.cat([seen[0], prompts_BND], dim=1)
    for block in plain.blocks:
        tokens_BND = block(tokens_BND)
    expected_BD = plain.norm(tokens_BND)[:, -6:].mean(dim=1)
    torch.testing.assert_close(features_BD, expected_BD, rtol=1e-4, atol=1e-5)


def test_prompts_and_keys_begin_without_a_negative_number_and_so_alike(pooled: PixelBackbone) -> None:
    """The published code draws them so."""
    keys_KD, prompts_KLD = (one.detach() for one in (pooled.network.pool_keys_KD, pooled.network.pool_prompts_KLD))
    for begun in (keys_KD, prompts_KLD):
        assert float(begun.min()) >= 0 and 0.009 < float(begun.max()) < 0.01
    unit_KD = torch.nn.functional.normalize(keys_KD, dim=1)
    assert float((unit_KD @ unit_KD.T).min()) > 0.5


def test_only_pool_and_keys_learn_and_keys_are_pulled_to_their_queries(pooled: PixelBackbone) -> None:
    before = {name: tensor.clone() for name, tensor in pooled.state().items()}
    features_BD = pooled(pixels())
    nothing = torch.zeros(0)
    step = Step(pooled, nothing, nothing, pixels(), nothing, features_BD, nothing, 0)
    penalty = TUNER.penalty(pooled)
    assert penalty is not None
    first = penalty(step)
    assert float(first.detach()) == pytest.approx(
        -float(pooled.network.prompt_choice.cosine_BN.detach().sum(dim=1).mean())
    )
    optimiser = torch.optim.SGD([p for group in TUNER.groups(pooled, 1) for p in group.parameters], lr=0.05)
    (first + features_BD.square().mean()).backward()
    optimiser.step()
    pooled(pixels())
    assert float(penalty(step).detach()) < float(first.detach())
    moved = {name for name, tensor in pooled.state().items() if not torch.equal(tensor, before[name])}
    assert moved == {"network.pool_keys_KD", "network.pool_prompts_KLD"}


def test_a_copy_chooses_for_itself(pooled: PixelBackbone) -> None:
    """Else the penalty would pull the keys to the queries of the copy's pass."""
    other = copy.deepcopy(pooled)
    pooled(pixels())
    chosen = pooled.network.prompt_choice.cosine_BN
    other(pixels(1))
    assert pooled.network.prompt_choice.cosine_BN is chosen
    assert not torch.equal(other.network.prompt_choice.cosine_BN, chosen)


def test_a_pool_is_taken_apart_and_put_in_again(pooled: PixelBackbone) -> None:
    apart = TUNER.taken_apart(pooled)
    assert apart.plain.keys() == network().state().keys() and set(apart.kept) == {
        "network.pool_keys_KD",
        "network.pool_prompts_KLD",
    }
    again = network()
    again.load(apart.plain)
    TUNER.equip(again, apart.kept)
    torch.testing.assert_close(again(pixels()), pooled(pixels()), rtol=0, atol=0)


def test_a_network_without_blocks_is_refused() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convolutional = build(BackboneSpec("test_efficientnet", 32, (0.5,) * 3, (0.5,) * 3))
    with pytest.raises(UnfitBackbone, match="prompt pool needs"):
        TUNER.begin(convolutional, 1, seed=0)


def test_the_sources_settings() -> None:
    method = METHODS["l2p"]
    assert method.tuner == PromptPoolTuner(size=10, length=10, chosen=4, pull=1.0) and not method.tuner.folds
    way = method.optimisation
    assert (way.optimiser, way.schedule, way.lr_per_256, way.clip_norm) == ("adam", "constant", 0.03, 1.0)
