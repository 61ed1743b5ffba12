"""Tuners that move a small part of a network, or put one in: what moves, what folds, what stays as it was."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from model.backbones.backbone import PixelBackbone, build
from model.backbones.spec import BackboneSpec
from model.heads.head import Head
from model.method import Tuner
from model.regularisers.distillation import Teacher
from model.tuners import (
    AdapterTuner,
    ComposedPromptTuner,
    DualPromptTuner,
    HybridTuner,
    LoraTuner,
    PartialTuner,
    PromptPoolTuner,
    PromptTuner,
    ScaleShiftTuner,
    SubSpaceTuner,
)
from model.tuners.insertion import UnfitBackbone
from model.tuners.lora import right_singular

FOLDING: tuple[Tuner, ...] = (LoraTuner(), LoraTuner(merged=True), HybridTuner(), ScaleShiftTuner(), PartialTuner())
BESIDE: tuple[Tuner, ...] = (
    AdapterTuner(bottleneck=8),
    AdapterTuner(bottleneck=8, place="sequential"),
    PromptTuner(),
    PromptTuner(deep=True),
)
ASKING: tuple[Tuner, ...] = (PromptPoolTuner(), DualPromptTuner(), ComposedPromptTuner())


def network(name: str = "test_vit", side: int = 32) -> PixelBackbone:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(BackboneSpec(name, side, (0.5,) * 3, (0.5,) * 3))


def pixels(seed: int = 0, side: int = 32) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (4, side, side, 3), np.uint8))


def step(backbone: PixelBackbone, tuner: Tuner, task: int, rate: float = 0.1) -> None:
    """One task of one large step, so that every part that can move has moved; B begins at 0, so two for A."""
    tuner.begin(backbone, task, seed=task)
    parameters = [parameter for group in tuner.groups(backbone, task) for parameter in group.parameters]
    generator = torch.Generator().manual_seed(task)
    for _ in range(2):
        features_BD = backbone(pixels(task))
        aim_BD = torch.randn(features_BD.shape, generator=generator)
        gradients = torch.autograd.grad((features_BD * aim_BD).sum(), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= rate * gradient / gradient.norm().clamp_min(1e-9)


def shake(backbone: PixelBackbone, tuner: Tuner) -> None:
    """A first task that moves every part at random, also those that no feature has a gradient for."""
    tuner.begin(backbone, 1, 0)
    with torch.no_grad():
        for group in tuner.groups(backbone, 1):
            for parameter in group.parameters:
                parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("tuner", FOLDING, ids=repr)
def test_the_folded_plain_network_is_the_equipped_one(tuner: Tuner) -> None:
    equipped, plain = network(), network()
    before_BD = plain(pixels()).detach()
    for task in (1, 2):
        step(equipped, tuner, task)
        plain.load(tuner.taken_apart(equipped).plain)
    features_BD = equipped(pixels()).detach()
    torch.testing.assert_close(plain(pixels()), features_BD, atol=1e-5, rtol=1e-5)
    assert float((features_BD - before_BD).abs().max()) > 1e-3
    assert tuner.folds


@pytest.mark.parametrize(
    ("name", "tuner"),
    [
        *(
            (name, tuner)
            for name in ("test_efficientnet", "test_nfnet", "test_convnext", "test_resnet", "test_efficientnet_ln")
            for tuner in (ScaleShiftTuner(), PartialTuner())
        ),
        ("test_convnext", LoraTuner()),
        ("test_convnext", HybridTuner()),
    ],
    ids=repr,
)
def test_convolutional_nets_fold_whatever_their_norms_and_weights(name: str, tuner: Tuner) -> None:
    """Convolutions that standardise their weights, norms over images with the channels first."""
    equipped, plain = network(name), network(name)
    before_BD = plain(pixels()).detach()
    step(equipped, tuner, 1)
    plain.load(tuner.taken_apart(equipped).plain)
    features_BD = equipped(pixels()).detach()
    torch.testing.assert_close(plain(pixels()), features_BD, atol=1e-5, rtol=1e-5)
    assert not torch.equal(features_BD, before_BD)


@pytest.mark.parametrize("tuner", (LoraTuner(), ScaleShiftTuner()), ids=repr)
def test_attention_that_reads_its_layers_weights_is_tuned_too(tuner: Tuner) -> None:
    name, shown = "eva02_tiny_patch14_224", pixels(side=28)
    equipped, plain = network(name, 28), network(name, 28)
    shake(equipped, tuner)
    moved = [parameter for group in tuner.groups(equipped, 1) for parameter in group.parameters]
    gradients = torch.autograd.grad(equipped(shown).sum(), moved, allow_unused=True)
    assert all(gradient is not None for gradient in gradients)
    plain.load(tuner.taken_apart(equipped).plain)
    torch.testing.assert_close(plain(shown), equipped(shown), atol=1e-4, rtol=1e-4)


def test_low_rank_pairs_stand_beside_query_key_and_value_that_are_kept_apart() -> None:
    equipped = network("eva02_base_patch14_224", 28)
    LoraTuner().begin(equipped, 1, 0)
    layers = {name.split(".")[-2] for name, _ in equipped.named_parameters() if name.endswith("lora_up_OR")}
    assert layers == {"q_proj", "k_proj", "v_proj", "fc1_g", "fc1_x", "fc2"}


def test_a_batch_norm_over_tokens_is_scaled_by_channel() -> None:
    equipped, plain, shown = network("levit_128s", 224), network("levit_128s", 224), pixels(side=224)
    before_BD = plain(shown).detach()
    shake(equipped, ScaleShiftTuner())
    plain.load(ScaleShiftTuner().taken_apart(equipped).plain)
    features_BD = equipped(shown).detach()
    torch.testing.assert_close(plain(shown), features_BD, atol=1e-5, rtol=1e-5)
    assert not torch.equal(features_BD, before_BD)


@pytest.mark.parametrize("tuner", (*FOLDING, *BESIDE), ids=repr)
def test_what_is_taken_apart_and_put_together_computes_the_same(tuner: Tuner) -> None:
    first = network()
    step(first, tuner, 1)
    apart = tuner.taken_apart(first)
    second = network()
    second.load(apart.plain)
    tuner.equip(second, apart.kept)
    torch.testing.assert_close(second(pixels()), first(pixels()), atol=1e-5, rtol=1e-5)
    tuner.begin(second, 2, 0)
    if apart.kept or tuner.folds:
        torch.testing.assert_close(second(pixels()), first(pixels()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tuner", BESIDE, ids=repr)
def test_what_bends_stands_beside_weights_that_never_move(tuner: Tuner) -> None:
    backbone = network()
    weights, features_BD = backbone.state(), backbone(pixels())
    step(backbone, tuner, 1)
    apart = tuner.taken_apart(backbone)
    assert not tuner.folds and apart.kept
    assert all(torch.equal(weights[name], tensor) for name, tensor in apart.plain.items())
    assert apart.plain.keys() == weights.keys()
    assert float((backbone(pixels()) - features_BD).detach().abs().max()) > 1e-3


@pytest.mark.parametrize("tuner", (*FOLDING[:4], *BESIDE[:2]), ids=repr)
def test_a_first_task_begins_from_the_pre_trained_features(tuner: Tuner) -> None:
    backbone = network()
    features_BD = backbone(pixels())
    tuner.begin(backbone, 1, 0)
    assert torch.equal(backbone(pixels()), features_BD)


@pytest.mark.parametrize("tuner", (*FOLDING, *BESIDE), ids=repr)
def test_what_is_frozen_gets_no_gradient_and_groups_are_all_that_moves(tuner: Tuner) -> None:
    backbone = network()
    tuner.begin(backbone, 1, 0)
    backbone(pixels()).square().sum().backward()
    moving = {id(parameter) for group in tuner.groups(backbone, 1) for parameter in group.parameters}
    for parameter in backbone.parameters():
        assert parameter.requires_grad == (id(parameter) in moving)
        assert (parameter.grad is None) == (id(parameter) not in moving)


@pytest.mark.parametrize("tuner", (*FOLDING, *BESIDE), ids=repr)
def test_a_copy_of_a_network_computes_with_its_own_parts(tuner: Tuner) -> None:
    backbone = network()
    tuner.begin(backbone, 1, 0)
    other, before_BD = copy.deepcopy(backbone), backbone(pixels()).detach()
    step(other, tuner, 1)
    assert torch.equal(backbone(pixels()), before_BD)
    assert not torch.equal(other(pixels()), before_BD)


@pytest.mark.parametrize("tuner", (*BESIDE, *ASKING, SubSpaceTuner()), ids=repr)
def test_a_teacher_goes_on_saying_what_it_said_while_the_learner_moves(tuner: Tuner) -> None:
    learner = network()
    shake(learner, tuner)
    with torch.no_grad():
        features_BD = learner(pixels())
    head_CD = np.random.default_rng(0).standard_normal((3, features_BD.shape[1]))
    teacher = Teacher(learner, Head(head_CD, np.zeros(3)))
    said_BC = teacher.logits(pixels())
    with torch.no_grad():
        for parameter in (p for group in tuner.groups(learner, 1) for p in group.parameters):
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
    assert not torch.allclose(learner(pixels()), features_BD, atol=1e-4)
    torch.testing.assert_close(teacher.logits(pixels()), said_BC, atol=0, rtol=0)


@pytest.mark.parametrize("tuner", (LoraTuner(), HybridTuner()), ids=repr)
def test_folding_and_unfolding_over_twenty_tasks_does_not_drift(tuner: Tuner) -> None:
    """The frozen weights are had back by subtraction each time."""
    backbone = network()
    frozen = {name: tensor for name, tensor in backbone.state().items() if name.endswith(("qkv.weight", "fc1.weight"))}
    for task in range(1, 21):
        step(backbone, tuner, task, rate=0.02)
        apart = tuner.taken_apart(backbone)
        backbone = network()
        backbone.load(apart.plain)
        tuner.equip(backbone, apart.kept)
    state = backbone.state()
    assert all(float((state[name] - tensor).abs().max()) < 1e-4 for name, tensor in frozen.items())
    moved = max(float((apart.plain[name] - tensor).abs().max()) for name, tensor in frozen.items())
    assert moved > 1e-3


def test_the_hybrid_slow_learner_moves_what_the_paper_moves() -> None:
    """638,976 parameters of ViT-B/16 (method.md 3), on the architecture without its memory."""
    with torch.device("meta"):
        backbone = PixelBackbone(BackboneSpec("vit_base_patch16_224", 224, (0.5,) * 3, (0.5,) * 3))
    tuner = HybridTuner(lora=LoraTuner(init="random"))
    tuner.begin(backbone, 1, 0)
    counts = [sum(parameter.numel() for parameter in group.parameters) for group in tuner.groups(backbone, 1)]
    assert counts == [516_096, 122_880]
    named = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    words = ("norm", "bias", "cls_token", "lora")
    assert named == {name for name, _ in backbone.named_parameters() if any(word in name for word in words)}


def test_rates_of_the_hybrid_slow_learner_by_task() -> None:
    backbone, tuner = network(), HybridTuner()
    tuner.begin(backbone, 1, 0)
    assert [group.ratio for group in tuner.groups(backbone, 1)] == [0.5, 0.1]
    assert [group.ratio for group in tuner.groups(backbone, 2)] == [0.1, 0.1]


def test_a_low_rank_pair_begins_as_the_first_right_singular_vectors_and_goes_on() -> None:
    backbone, tuner = network(), HybridTuner()
    layer = backbone.network.blocks[0].attn.qkv
    tuner.begin(backbone, 1, 0)
    _, vectors = np.linalg.eigh((layer.weight.detach().double().T @ layer.weight.detach().double()).numpy())
    overlap_RR = np.abs(layer.lora_down_RI.detach().numpy() @ vectors[:, ::-1][:, :4])
    np.testing.assert_allclose(overlap_RR, np.eye(4), atol=1e-4)
    step(backbone, tuner, 1)
    first = layer.lora_down_RI.detach().clone()
    tuner.begin(backbone, 2, 7)
    assert torch.equal(layer.lora_down_RI, first)


def test_a_layer_of_fewer_inputs_than_the_rank_gets_a_pair_of_as_many() -> None:
    """The positions' network of Swin V2 CR has two inputs."""
    equipped, plain, shown = (
        network("swinv2_cr_tiny_224", 224),
        network("swinv2_cr_tiny_224", 224),
        pixels(side=224)[:1],
    )
    shake(equipped, LoraTuner(init="svd", layers=("fc1",)))
    assert equipped.network.stages[0].blocks[0].attn.meta_mlp.fc1.lora_up_OR.shape == (384, 2)
    plain.load(LoraTuner(init="svd", layers=("fc1",)).taken_apart(equipped).plain)
    torch.testing.assert_close(plain(shown), equipped(shown), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("shape", "rank"), [((30, 20), 20), ((20, 30), 20), ((20, 30), 2), ((30, 20), 2), ((2, 9), 2)])
def test_right_singular_vectors_are_those_of_the_whole_decomposition(shape: tuple[int, int], rank: int) -> None:
    rng = np.random.default_rng(0)
    matrix_OI = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    found_RI = right_singular(matrix_OI, 4)
    assert np.allclose(found_RI @ found_RI.T, np.eye(len(found_RI)), atol=1e-9)
    agreeing = min(4, rank)
    whole_RI = np.linalg.svd(matrix_OI)[2][:agreeing]
    assert np.allclose(np.abs((found_RI[:agreeing] * whole_RI).sum(axis=1)), 1, atol=1e-9)


def test_the_update_has_the_rank_and_the_scale() -> None:
    backbone, tuner = network(), LoraTuner(rank=2, scale=0.8)
    layer = backbone.network.blocks[1].mlp.fc1
    before = layer.weight.detach().clone()
    step(backbone, tuner, 1)
    folded = tuner.taken_apart(backbone).plain["network.blocks.1.mlp.fc1.weight"]
    expected = 0.8 * layer.lora_up_OR.detach() @ layer.lora_down_RI.detach()
    torch.testing.assert_close(folded - before, expected, atol=1e-6, rtol=1e-4)
    assert int(torch.linalg.matrix_rank(folded - before, tol=1e-4)) == 2


def test_prompts_are_tokens_that_the_image_attends_to() -> None:
    """Shallow: the same as a network that is given the tokens by hand, block by block."""
    backbone, tuner = network(), PromptTuner(count=3)
    tuner.begin(backbone, 1, 0)
    plain = network().network
    images = (pixels().float() / 255 - 0.5) / 0.5
    tokens = plain.norm_pre(plain.patch_drop(plain._pos_embed(plain.patch_embed(images.permute(0, 3, 1, 2)))))
    prompts = backbone.network.blocks[0].prompt_PD.detach().expand(4, -1, -1)
    tokens = torch.cat([tokens[:, :1], prompts, tokens[:, 1:]], dim=1)
    for block in plain.blocks:
        tokens = block(tokens)
    tokens = torch.cat([tokens[:, :1], tokens[:, 4:]], dim=1)
    expected = plain.forward_head(plain.norm(tokens), pre_logits=True)
    torch.testing.assert_close(backbone(pixels()), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tuner", (*FOLDING, *BESIDE, *ASKING), ids=repr)
def test_features_longer_than_a_token_are_tuned_all_the_same(tuner: Tuner) -> None:
    def wide() -> PixelBackbone:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return build(BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3, pooling="token+avg"))

    backbone = wide().eval()
    shake(backbone, tuner)
    features_BD = backbone(pixels()).detach()
    assert not torch.allclose(features_BD, wide().eval()(pixels()), atol=1e-3)
    apart = tuner.taken_apart(backbone)
    again = wide()
    again.load(apart.plain)
    tuner.equip(again, apart.kept)
    assert features_BD.shape == (4, 128)
    torch.testing.assert_close(again.eval()(pixels()), features_BD, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tuner", (LoraTuner(), HybridTuner(), *BESIDE), ids=repr)
def test_a_network_without_such_layers_is_refused_by_name(tuner: Tuner) -> None:
    with pytest.raises(UnfitBackbone, match="test_efficientnet"):
        tuner.begin(network("test_efficientnet"), 1, 0)


def test_a_network_whose_weights_take_up_no_scale_is_refused() -> None:
    """All of its convolutions standardise their weights, and its norms hold activations."""
    with torch.device("meta"):
        unfit = build(BackboneSpec("resnetv2_50x1_bit", 32, (0.5,) * 3, (0.5,) * 3))
    with pytest.raises(UnfitBackbone, match="take up a scale, which resnetv2_50x1_bit does not have"):
        ScaleShiftTuner().begin(unfit, 1, 0)


@pytest.mark.parametrize("name", ["test_vit2", "test_vit3", "test_vit_relpos", "cait_xxs24_224"])
@pytest.mark.parametrize("tuner", ASKING, ids=lambda tuner: type(tuner).__name__)
def test_what_asks_the_class_token_refuses_features_that_are_not_its(tuner: Tuner, name: str) -> None:
    """Pooled by mean, by attention, and a class token that comes in behind the blocks."""
    size = 224 if name.startswith("cait") else 32
    with torch.device("meta"):
        unfit = build(BackboneSpec(name, size, (0.5,) * 3, (0.5,) * 3))
    with pytest.raises(UnfitBackbone, match=f"feature is its class token's, which {name} is not"):
        tuner.begin(unfit, 1, 0)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", ["test_vit2", "test_vit3"])
def test_prompts_are_gone_before_whatever_is_pooled(name: str, deep: bool) -> None:
    """The same patches reach the pooling as without prompts, and have seen them."""
    backbone, plain, tuner = network(name), network(name), PromptTuner(count=3, deep=deep)
    tuner.begin(backbone, 1, 0)
    for label, parameter in (*backbone.named_parameters(), *plain.named_parameters()):
        if label.endswith("gamma"):  # layers that begin with next to no weight hide what they attend to
            nn.init.ones_(parameter)
    images = (pixels().float() / 255 - 0.5).permute(0, 3, 1, 2)
    pooled_BND, plain_BND = (one.network.forward_features(images) for one in (backbone, plain))
    assert pooled_BND.shape == plain_BND.shape and not torch.allclose(pooled_BND, plain_BND, atol=1e-5)


def test_biases_and_norms_move_in_a_convolutional_net_too() -> None:
    backbone = network("test_efficientnet")
    PartialTuner().begin(backbone, 1, 0)
    moving = {id(parameter) for parameter in backbone.parameters() if parameter.requires_grad}
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(id(module.weight) in moving for module in norms)
    assert not any(module.weight.requires_grad for module in backbone.modules() if isinstance(module, nn.Conv2d))
