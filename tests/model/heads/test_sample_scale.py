"""SLCA++'s scales on sampled features and on the rows that answer them, and its floor of the cosine."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from model.backbones.backbone import build
from model.backbones.spec import BackboneSpec
from model.heads.alignment import AlignmentPlan, align
from model.heads.head import Head
from model.heads.sample_scale import SampleScale
from model.methods import METHODS, method_named
from model.statistics.class_statistics import ClassStatistics
from model.statistics.sampling import GaussianSampler
from model.training.stage import Group, Optimisation, Stage
from model.training.tuning import TuningPlan, _Run
from model.training.tuning_state import TuningState
from tests.model.pictures import Pictures

BLOCKS_C = np.array([1, 1, 2, 4])
"""The third task brought nothing: t(c) is dense."""


def statistics() -> ClassStatistics:
    rng = np.random.default_rng(0)
    features_ND = (rng.standard_normal((80, 6)) + np.repeat(3 * rng.standard_normal((4, 6)), 20, axis=0)).astype("f4")
    return ClassStatistics.from_features(features_ND, np.repeat(np.arange(4), 20), 4)


def unaligned() -> Head:
    return Head(np.random.default_rng(1).standard_normal((4, 6)).astype("f4"), np.arange(4, dtype="f4"))


def test_each_sample_shrinks_as_a_whole_by_its_classes_age() -> None:
    features_ND, columns_N = torch.full((4000, 3), 2.0), torch.arange(4).repeat(1000)
    SampleScale().shrink(features_ND, columns_N, np.array([3, 2, 1, 0]), torch.Generator().manual_seed(0))
    assert torch.equal(features_ND[:, 0], features_ND[:, 2])
    for column, age in enumerate((3, 2, 1, 0)):
        rate_N = 2.0 / features_ND[columns_N == column, 0] - 1
        assert float(rate_N.min()) >= 0.01 * age - 1e-6 and float(rate_N.max()) <= 0.03 * age + 1e-6
        np.testing.assert_allclose(float(rate_N.mean()), 0.02 * age, atol=1e-3)


def test_rows_answer_as_if_their_input_were_larger_and_the_unaligned_head_stays() -> None:
    """Without any epoch alignment leaves the rows, so that what is left is the scale of inference."""
    plan = AlignmentPlan(epochs=0, mean_decay=False, sample_scale=SampleScale(), largest_first_step=None)
    head = unaligned()
    aligned = align(head, statistics(), BLOCKS_C, 4, plan, seed=0)
    features_ND = np.random.default_rng(2).standard_normal((5, 6)).astype("f4")
    for column, age in enumerate((2, 2, 1, 0)):
        by_hand_N = (1 + 0.02 * age) * features_ND @ head.weight_CD[column] + head.bias_C[column]
        np.testing.assert_allclose(aligned.logits(features_ND)[:, column], by_hand_N, rtol=1e-5)
    assert np.array_equal(head.weight_CD, unaligned().weight_CD)


def restated(scale: SampleScale | None, plan: AlignmentPlan) -> Head:
    """The head before the scale of inference: what torch's own SGD makes of the same draws, shrunk by hand."""
    head, ages = unaligned(), torch.tensor([2, 2, 1, 0])
    generator = torch.Generator().manual_seed(0)
    sampler = GaussianSampler(statistics(), np.ones(4), plan.ridge, plan.few_images, generator)
    layer = nn.Linear(6, 4)
    layer.load_state_dict({"weight": torch.tensor(head.weight_CD), "bias": torch.tensor(head.bias_C)})
    optimiser = torch.optim.SGD(layer.parameters(), lr=plan.lr, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, plan.epochs)
    for _ in range(plan.epochs):
        features_ND, columns_N = sampler.draw(plan.samples_per_class)
        if scale is not None:
            rate_N = torch.empty(len(columns_N)).uniform_(scale.low, scale.high, generator=generator)
            features_ND = features_ND / (1 + rate_N * ages[columns_N])[:, None]
        for rows_B in torch.randperm(len(columns_N), generator=generator).split(plan.batch):
            logits_BC = layer(features_ND[rows_B])
            norm_B = sum(logits_BC[:, first:last].norm(dim=1) for first, last in ((0, 2), (2, 3), (3, 4))) / 3 + 1e-7
            optimiser.zero_grad()
            nn.functional.cross_entropy(logits_BC / (norm_B[:, None] * plan.tau), columns_N[rows_B]).backward()
            optimiser.step()
        schedule.step()
    return Head(layer.weight.detach().numpy(), layer.bias.detach().numpy())


@pytest.mark.parametrize("scale", [None, SampleScale(), SampleScale(0.2, 0.9)])
def test_alignment_draws_what_it_drew_before_there_was_a_scale_and_then_the_rates(scale: SampleScale | None) -> None:
    """Without a scale nothing more is drawn; with one, a rate for each sample between the samples and their order."""
    plan = AlignmentPlan(
        epochs=2, samples_per_class=24, batch=16, mean_decay=False, sample_scale=scale, largest_first_step=None
    )
    found, wanted = align(unaligned(), statistics(), BLOCKS_C, 4, plan, seed=0), restated(scale, plan)
    factor_C = np.ones(4) if scale is None else 1 + (scale.low + scale.high) / 2 * np.array([2, 2, 1, 0])
    np.testing.assert_allclose(found.weight_CD, factor_C[:, None] * wanted.weight_CD, atol=2e-5)
    np.testing.assert_allclose(found.bias_C, wanted.bias_C, atol=2e-5)
    assert not np.allclose(wanted.weight_CD, unaligned().weight_CD, atol=1e-2)


def test_the_method_is_put_together_as_the_paper_says() -> None:
    method = METHODS["slca++"]
    assert method.aligner is not None and method.refusals() == []
    plan = method.aligner.plan  # type: ignore[attr-defined]
    assert not plan.mean_decay and plan.logit_norm and plan.sample_scale == SampleScale(0.01, 0.03)
    assert method_named("sl+++ca_shrink") == method == method_named("slca++")
    assert method_named("slca+++drift") == replace(method, drift=method_named("slca+drift").drift)
    assert not method_named("sl+ca_plain").aligner.plan.logit_norm  # type: ignore[union-attr]
    assert METHODS["adapter"].refusals() == ["its backbone does not fold into the plain one"]


def test_all_rates_fall_along_a_cosine_to_one_floor_that_milestones_lower() -> None:
    backbone = build(BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3))
    stage = Stage(
        [Group(list(backbone.parameters()), 0.5)], optimisation=Optimisation(schedule="cosine", floor_lr=None)
    )
    images = Pictures([np.zeros((32, 32, 3), np.uint8)] * 4, np.zeros(4, np.int64))
    for milestones, floor in (((3,), 1e-4), ((2, 3), 1e-5)):
        plan = TuningPlan(epochs=4, milestones=milestones, batch_size=4)
        state = TuningState.start(backbone.state(), Head.empty(backbone.feature_dim), 4)
        run = _Run(backbone, images, replace(state, epoch=2), plan, stage)
        run.remaining_batches()
        rates = [group["lr"] for group in run._optimiser.param_groups]
        np.testing.assert_allclose(rates, [(0.01 + floor) / 2, (0.005 + floor) / 2])
