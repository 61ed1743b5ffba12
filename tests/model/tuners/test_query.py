"""The nearest key is the nearest in whatever precision the network runs."""

import torch
from torch import Tensor

from model.backbones.backbone import PixelBackbone, autocast
from model.tuners import DualPromptTuner, PromptPoolTuner
from model.tuners.query import cosines
from tests.model.tuners.test_tuners import network, pixels

DIMENSION = 64


def near(query_BD: Tensor, count: int) -> Tensor:
    """Keys at cosines to the first query that grow by a hundred-thousandth or so, closer than bfloat16 can tell."""
    query_D = query_BD[0].float() / query_BD[0].float().norm()
    aside_D = torch.randn(DIMENSION, generator=torch.Generator().manual_seed(0))
    aside_D = (aside_D - (aside_D @ query_D) * query_D) / aside_D.norm()
    angles_K = 0.2 - 1e-4 * torch.arange(count)
    return angles_K.cos()[:, None] * query_D + angles_K.sin()[:, None] * aside_D


def seen(backbone: PixelBackbone) -> Tensor:
    """What the plain network sees in bfloat16."""
    with torch.no_grad(), autocast(backbone, "bf16"):
        return backbone(pixels())


def test_cosines_under_autocast_are_those_without() -> None:
    generator = torch.Generator().manual_seed(0)
    query_BD, keys_KD = (torch.randn(count, DIMENSION, generator=generator) for count in (50, 10))
    with torch.autocast("cpu", torch.bfloat16):
        cosine_BK = cosines(query_BD, keys_KD)
        halved_BK = cosines(query_BD.bfloat16(), keys_KD)
    expected_BK = torch.nn.functional.cosine_similarity(query_BD[:, None], keys_KD[None], dim=2)
    torch.testing.assert_close(cosine_BK, expected_BK, atol=1e-6, rtol=0)
    assert halved_BK.dtype == torch.float32


def test_a_pool_in_half_precision_gives_its_nearest_prompts() -> None:
    backbone = network()
    keys_KD = near(seen(backbone), 8)
    PromptPoolTuner(size=8, length=2, chosen=3).begin(backbone, 1, 0)
    with torch.no_grad():
        backbone.network.pool_keys_KD.copy_(keys_KD)
    seen(backbone)
    choice = backbone.network.prompt_choice
    assert choice.rows_BN[0].tolist() == [7, 6, 5] and choice.cosine_BN.dtype == torch.float32


def test_experts_in_half_precision_are_told_apart() -> None:
    backbone, tuner = network(), DualPromptTuner()
    keys_TD = near(seen(backbone), 6)
    for task, key_D in enumerate(keys_TD, start=1):
        tuner.begin(backbone, task, 0)
        with torch.no_grad():
            backbone.get_parameter(f"network.expert_key_D_{task}").copy_(key_D)
    seen(backbone.eval())
    assert backbone.network.prefixes.rows_B[0] == 5
