"""DualPrompt trains its task's expert, chooses by the nearest key afterwards, and leaves everything else as it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.backbones.backbone import PixelBackbone, build
from model.backbones.spec import BackboneSpec
from model.methods import METHODS
from model.training.stage import Step
from model.tuners import DualPromptTuner
from model.tuners.insertion import UnfitBackbone
from tests.model.tuners.test_tuners import network, pixels

TUNER = DualPromptTuner(general=3, expert=2)


@pytest.fixture
def two_tasks() -> PixelBackbone:
    backbone = network()
    for task in (1, 2):
        TUNER.begin(backbone, task, seed=task)
    return backbone


def test_while_learning_the_tasks_own_expert_is_used(two_tasks: PixelBackbone) -> None:
    two_tasks.train()
    two_tasks(pixels())
    assert two_tasks.network.prefixes.rows_B.tolist() == [1] * 4


def test_afterwards_the_nearest_key_decides(two_tasks: PixelBackbone) -> None:
    two_tasks.eval()
    two_tasks(pixels())
    query_BD = network()(pixels()).detach().numpy()
    keys_TD = np.stack([two_tasks.get_parameter(f"network.expert_key_D_{n}").detach().numpy() for n in (1, 2)])
    cosine_BT = (query_BD @ keys_TD.T) / np.linalg.norm(query_BD, axis=1)[:, None] / np.linalg.norm(keys_TD, axis=1)
    prefixes = two_tasks.network.prefixes
    np.testing.assert_array_equal(prefixes.rows_B.numpy(), cosine_BT.argmax(axis=1))
    np.testing.assert_allclose(prefixes.cosine_BT.detach().numpy(), cosine_BT, atol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
def test_a_prefix_is_attended_to_like_the_image(two_tasks: PixelBackbone, *, fused: bool) -> None:
    two_tasks.eval()
    attention = two_tasks.network.blocks[0].attn
    attention.fused_attn = fused
    seen: list[torch.Tensor] = []
    handle = two_tasks.network.blocks[0].norm1.register_forward_hook(lambda norm, inputs, output: seen.append(output))
    two_tasks(pixels())
    handle.remove()
    tokens_BND = seen[-1]
    answer_BND = attention(tokens_BND)
    heads, count = attention.num_heads, tokens_BND.shape[1]
    keys_LD, values_LD = two_tasks.network.general_G2LD[0]
    query, key, value = attention.qkv(tokens_BND[:1]).reshape(count, 3, heads, -1).permute(1, 2, 0, 3)
    query, key = attention.q_norm(query), attention.k_norm(key)
    key = torch.cat([keys_LD.reshape(3, heads, -1).transpose(0, 1), key], dim=1)
    value = torch.cat([values_LD.reshape(3, heads, -1).transpose(0, 1), value], dim=1)
    weight = (query @ key.transpose(1, 2) / query.shape[-1] ** 0.5).softmax(dim=-1)
    expected_ND = attention.proj((weight @ value).transpose(0, 1).reshape(count, -1))
    torch.testing.assert_close(answer_BND[0], expected_ND, rtol=1e-4, atol=1e-5)


def test_only_the_general_prompt_and_the_tasks_own_move(two_tasks: PixelBackbone) -> None:
    moving = {name for name, parameter in two_tasks.named_parameters() if parameter.requires_grad}
    assert moving == {"network.general_G2LD", "network.expert_E2LD_2", "network.expert_key_D_2"}
    assert sum(len(group.parameters) for group in TUNER.groups(two_tasks, 2)) == 3
    two_tasks.train()
    two_tasks(pixels()).square().sum().backward()
    assert two_tasks.network.expert_E2LD_2.grad is not None and two_tasks.network.expert_E2LD_1.grad is None


def test_a_new_expert_goes_on_from_the_newest_one_and_its_key_begins_anew(two_tasks: PixelBackbone) -> None:
    with torch.no_grad():
        two_tasks.network.expert_E2LD_2 += 1
    TUNER.begin(two_tasks, 3, seed=3)
    torch.testing.assert_close(two_tasks.network.expert_E2LD_3, two_tasks.network.expert_E2LD_2)
    assert two_tasks.network.expert_E2LD_3.data_ptr() != two_tasks.network.expert_E2LD_2.data_ptr()
    keys_TD = [two_tasks.get_parameter(f"network.expert_key_D_{number}").detach() for number in (1, 2, 3)]
    assert all(float(key_D.min()) >= 0 and 0.009 < float(key_D.max()) < 0.01 for key_D in keys_TD)
    assert not torch.equal(keys_TD[1], keys_TD[2])
    assert float(two_tasks.network.general_G2LD.detach().min()) >= 0


def test_the_tasks_own_key_is_pulled_to_what_the_network_sees(two_tasks: PixelBackbone) -> None:
    tuner = replace(TUNER, pull=0.5)
    two_tasks.train()
    features_BD = two_tasks(pixels())
    nothing = torch.zeros(0)
    step = Step(two_tasks, nothing, nothing, pixels(), nothing, features_BD, nothing, 0)
    penalty = tuner.penalty(two_tasks)
    assert penalty is not None
    added = penalty(step)
    query_BD, key_D = network()(pixels()).detach(), two_tasks.network.expert_key_D_2
    cosine_B = (query_BD * key_D).sum(dim=1) / query_BD.norm(dim=1) / key_D.norm()
    assert float(added.detach()) == pytest.approx(-0.5 * float(cosine_B.detach().mean()), abs=1e-6)
    assert abs(float(added.detach())) > 1e-3
    (gradient_D,) = torch.autograd.grad(added, [key_D], retain_graph=True)
    (expected_D,) = torch.autograd.grad(-0.5 * cosine_B.mean(), [key_D])
    torch.testing.assert_close(gradient_D, expected_D, rtol=1e-4, atol=1e-5)


def test_prompts_are_taken_apart_and_put_in_again(two_tasks: PixelBackbone) -> None:
    apart = TUNER.taken_apart(two_tasks.eval())
    assert apart.plain.keys() == network().state().keys() and len(apart.kept) == 5
    for name, tensor in network().state().items():
        torch.testing.assert_close(apart.plain[name], tensor, rtol=0, atol=0)
    again = network()
    TUNER.equip(again, apart.kept)
    torch.testing.assert_close(again.eval()(pixels()), two_tasks(pixels()), rtol=0, atol=0)


def test_blocks_that_a_small_network_does_not_have_are_left_out() -> None:
    backbone = network()
    depth = len(backbone.network.blocks)
    tuner = DualPromptTuner(general_blocks=(0, depth), expert_blocks=(1, depth + 3))
    tuner.begin(backbone, 1, seed=0)
    assert backbone.network.prefixes.general_blocks == (0,) and backbone.network.prefixes.expert_blocks == (1,)
    assert torch.isfinite(backbone(pixels())).all()


def test_a_network_without_blocks_is_refused() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convolutional = build(BackboneSpec("test_efficientnet", 32, (0.5,) * 3, (0.5,) * 3))
    with pytest.raises(UnfitBackbone, match="prefix tuning needs"):
        TUNER.begin(convolutional, 1, seed=0)


def test_the_sources_settings() -> None:
    method = METHODS["dualprompt"]
    assert method.tuner == DualPromptTuner(5, 5, (0, 1), (2, 3, 4), 1.0) and not method.tuner.folds
    assert method.optimisation == METHODS["l2p"].optimisation
