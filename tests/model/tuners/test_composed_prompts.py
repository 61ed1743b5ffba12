"""CODA-Prompt weighs all components for each image, trains the newest ones, and leaves everything else as it was."""

import numpy as np
import pytest
import torch

from model.backbones.backbone import PixelBackbone
from model.methods import METHODS
from model.tuners import ComposedPromptTuner
from model.tuners.composed_prompts import Composition, orthogonal
from model.tuners.insertion import UnfitBackbone
from tests.model.tuners.test_tuners import network, pixels, step

TUNER = ComposedPromptTuner(count=3, length=2, blocks=(0, 1))


@pytest.fixture
def two_tasks() -> PixelBackbone:
    backbone = network()
    for task in (1, 2):
        step(backbone.train(), TUNER, task)
    return backbone.eval()


def components(backbone: PixelBackbone, leaf: str, number: int) -> np.ndarray:
    return backbone.get_parameter(f"network.blocks.1.composed_{leaf}_{number}").detach().numpy()


def test_a_prefix_is_the_sum_of_all_components_weighed_by_attention(two_tasks: PixelBackbone) -> None:
    query_BD = network()(pixels()).detach()
    pair_B2LD = Composition((0, 1)).pairs(two_tasks.network, query_BD)[1].detach().numpy()
    prompts, keys, looks = (
        np.concatenate([components(two_tasks, leaf, number) for number in (1, 2)])
        for leaf in ("prompt_M2LD", "key_MD", "look_MD")
    )
    assert len(prompts) == 6
    for query_D, made_2LD in zip(query_BD.numpy(), pair_B2LD, strict=True):
        seen = query_D * looks
        cosine_M = (seen * keys).sum(axis=1) / np.linalg.norm(seen, axis=1) / np.linalg.norm(keys, axis=1)
        np.testing.assert_allclose(made_2LD, np.tensordot(cosine_M, prompts, axes=1), rtol=1e-4, atol=1e-5)


def test_prefixes_change_the_features_and_the_query_does_not_see_them(two_tasks: PixelBackbone) -> None:
    plain = network()
    seen: list[torch.Tensor] = []
    handle = two_tasks.network.norm.register_forward_hook(lambda norm, inputs, output: seen.append(output[:, 0]))
    features_BD = two_tasks(pixels()).detach()
    handle.remove()
    query_BD, prompted_BD = seen
    torch.testing.assert_close(query_BD, plain(pixels()).detach())
    torch.testing.assert_close(prompted_BD.detach(), features_BD)
    assert float((features_BD - query_BD).abs().max()) > 1e-3


def test_new_components_begin_orthogonal_to_those_that_there_are() -> None:
    backbone = network()
    TUNER.begin(backbone, 1, seed=1)
    first = {leaf: components(backbone, leaf, 1) for leaf in ("prompt_M2LD", "key_MD", "look_MD")}
    TUNER.begin(backbone, 2, seed=2)
    for leaf, old in first.items():
        rows_ME = np.concatenate([old, components(backbone, leaf, 2)]).reshape(6, -1)
        np.testing.assert_allclose(rows_ME @ rows_ME.T, np.eye(6), atol=1e-5)


def test_where_no_room_is_left_components_are_random_and_of_one_length() -> None:
    known_KE = np.random.default_rng(0).standard_normal((3, 4))
    made_ME = orthogonal(3, known_KE, np.random.default_rng(1))
    np.testing.assert_allclose(np.linalg.norm(made_ME, axis=1), 1)
    np.testing.assert_allclose(known_KE @ made_ME[0], 0, atol=1e-9)
    assert not np.allclose(known_KE @ made_ME[1], 0, atol=1e-3)


def test_only_the_newest_components_move(two_tasks: PixelBackbone) -> None:
    assert {name[-1] for name, one in two_tasks.named_parameters() if one.requires_grad} == {"2"}
    (group,) = TUNER.groups(two_tasks, 2)
    assert len(group.parameters) == 6 and group.ratio == 1.0
    two_tasks.zero_grad()
    two_tasks(pixels()).square().sum().backward()
    block = two_tasks.network.blocks[0]
    assert block.composed_key_MD_2.grad is not None and block.composed_key_MD_1.grad is None


def test_components_are_taken_apart_and_put_in_again(two_tasks: PixelBackbone) -> None:
    apart = TUNER.taken_apart(two_tasks)
    assert apart.plain.keys() == network().state().keys() and len(apart.kept) == 2 * 2 * 3
    again = network()
    TUNER.equip(again, apart.kept)
    torch.testing.assert_close(again.eval()(pixels()), two_tasks(pixels()), rtol=0, atol=0)


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(UnfitBackbone, match="prefix tuning needs"):
        TUNER.begin(network("test_efficientnet"), 1, seed=0)


def test_the_sources_settings() -> None:
    method = METHODS["coda_prompt"]
    assert method.tuner == ComposedPromptTuner(10, 4, (0, 1, 2, 3, 4)) and not method.tuner.folds
    assert (method.optimisation.optimiser, method.optimisation.head_lr) == ("adam", 1e-3)
