"""Stage 2 against a restatement with torch's own optimiser and gradients, and the properties that the loss has."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.heads.alignment import (
    AlignmentPlan,
    NormBlocks,
    _HeadTrainer,
    align,
    block_norms,
    decayed_scale,
    dense_blocks,
    steadied,
)
from model.heads.head import Head
from model.statistics.class_statistics import ClassStatistics

PLAN = AlignmentPlan(epochs=2, samples_per_class=24, batch=16)
D = 10
BLOCKS_C = np.array([1, 1, 1, 2, 3, 3])


def some_head(classes: int = 6, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    return Head(rng.standard_normal((classes, D)) * 0.3, rng.standard_normal(classes) * 0.1)


def some_statistics(classes: int = 6, images: int = 8, spread: float = 0.6) -> ClassStatistics:
    rng = np.random.default_rng(7)
    columns_N = np.repeat(np.arange(classes), images)
    features_ND = rng.standard_normal((classes, D))[columns_N] * 1.5 + spread * rng.standard_normal((len(columns_N), D))
    return ClassStatistics.from_features(features_ND.astype(np.float32), columns_N, classes)


NORMS: dict[NormBlocks, Callable[[list[Tensor], Tensor], Tensor]] = {
    "alike": lambda blocks, all_BC: sum(block.norm(dim=1) for block in blocks) / len(blocks),
    "by_size": lambda blocks, all_BC: sum(block.shape[1] * block.norm(dim=1) for block in blocks) / all_BC.shape[1],
    "per_class": lambda blocks, all_BC: (
        sum(block.norm(dim=1) / block.shape[1] ** 0.5 for block in blocks)
        / len(blocks)
        * (all_BC.shape[1] / len(blocks)) ** 0.5
    ),
    "as_one": lambda blocks, all_BC: all_BC.norm(dim=1) / len(blocks) ** 0.5,
}
"""n̄ from each block's logits, and all."""


def naive_norm(logits_BC: Tensor, order_C: np.ndarray, norm_blocks: NormBlocks) -> Tensor:
    return NORMS[norm_blocks]([logits_BC[:, order_C == block] for block in sorted(set(order_C))], logits_BC) + 1e-7


def naive_loss(
    logits_BC: Tensor, columns_B: Tensor, order_C: np.ndarray | None, tau: float, norm_blocks: NormBlocks = "alike"
) -> Tensor:
    if order_C is None:
        return nn.functional.cross_entropy(logits_BC, columns_B)
    norm_B1 = naive_norm(logits_BC, order_C, norm_blocks)[:, None]
    return nn.functional.cross_entropy(logits_BC / (norm_B1 * tau), columns_B)


def naive_steps(
    head: Head,
    batches: list[tuple[Tensor, Tensor]],
    order_C: np.ndarray | None,
    lr: float,
    norm_blocks: NormBlocks = "alike",
) -> Head:
    layer = nn.Linear(D, head.class_count)
    layer.load_state_dict({"weight": torch.tensor(head.weight_CD), "bias": torch.tensor(head.bias_C)})
    optimiser = torch.optim.SGD(layer.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    for features_BD, columns_B in batches:
        optimiser.zero_grad()
        naive_loss(layer(features_BD), columns_B, order_C, 0.1, norm_blocks).backward()
        optimiser.step()
    return Head(layer.weight.detach().numpy(), layer.bias.detach().numpy())


@pytest.mark.parametrize("norm_blocks", NORMS)
@pytest.mark.parametrize("order_C", [None, BLOCKS_C, np.ones(6, np.int64), np.arange(1, 7)])
def test_steps_are_those_of_sgd_on_the_normalised_cross_entropy(
    order_C: np.ndarray | None, norm_blocks: NormBlocks
) -> None:
    torch.manual_seed(0)
    batches = [(torch.randn(16, D) * 2, torch.randint(0, 6, (16,))) for _ in range(7)]
    trainer = _HeadTrainer(some_head(), order_C, AlignmentPlan(norm_blocks=norm_blocks), "cpu")
    trainer.lr = 0.05
    for features_BD, columns_B in batches:
        trainer.step(features_BD, columns_B)
    expected = naive_steps(some_head(), batches, order_C, 0.05, norm_blocks)
    np.testing.assert_allclose(trainer.head().weight_CD, expected.weight_CD, atol=2e-5)
    np.testing.assert_allclose(trainer.head().bias_C, expected.bias_C, atol=2e-5)


def test_a_row_of_logits_that_are_all_nought_has_a_step_too() -> None:
    """As with the un-aligned head of a first task that trained nothing."""
    batch = torch.randn(16, D, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 6
    nothing = Head(np.zeros((6, D)), np.zeros(6))
    trainer = _HeadTrainer(nothing, BLOCKS_C, PLAN, "cpu")
    trainer.lr = 1e-9
    trainer.step(*batch)
    expected = naive_steps(nothing, [batch], BLOCKS_C, 1e-9)
    assert np.abs(expected.weight_CD).max() > 0
    np.testing.assert_allclose(trainer.head().weight_CD, expected.weight_CD, rtol=1e-4)


@pytest.mark.parametrize("norm_blocks", NORMS)
def test_the_norm_of_blocks_of_different_sizes_is_as_the_plan_says(norm_blocks: NormBlocks) -> None:
    logits_BC = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    found_BT = block_norms(logits_BC.numpy(), BLOCKS_C, norm_blocks)
    np.testing.assert_allclose(found_BT.mean(axis=1), naive_norm(logits_BC, BLOCKS_C, norm_blocks), rtol=1e-5)


def test_blocks_of_one_size_know_no_difference_unless_there_are_none() -> None:
    blocks_C = np.array([1, 1, 2, 2, 3, 3])
    heads = {
        rule: align(some_head(), some_statistics(), blocks_C, 3, replace(PLAN, norm_blocks=rule), seed=0)
        for rule in NORMS
    }
    for rule in ("by_size", "per_class"):
        assert heads[rule].weight_CD.tobytes() == heads["alike"].weight_CD.tobytes()
    assert heads["as_one"].weight_CD.tobytes() != heads["alike"].weight_CD.tobytes()


@pytest.mark.parametrize("norm_blocks", NORMS)
def test_the_normalised_loss_does_not_see_the_scale_of_the_logits(norm_blocks: NormBlocks) -> None:
    trainer = _HeadTrainer(some_head(), BLOCKS_C, AlignmentPlan(norm_blocks=norm_blocks), "cpu")
    logits_BC, columns_B = torch.randn(5, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 5])
    gradient_BC = trainer._gradient(logits_BC, columns_B)
    np.testing.assert_allclose((gradient_BC * logits_BC).sum(dim=1), 0, atol=2e-6)
    np.testing.assert_allclose(trainer._gradient(9 * logits_BC, columns_B) * 9, gradient_BC, atol=1e-5)


def test_means_decay_by_the_age_of_their_block() -> None:
    np.testing.assert_allclose(decayed_scale(np.array([1, 1, 2, 4]), 4), [0.925, 0.925, 0.95, 1.0])


def test_the_length_of_a_blocks_logits_is_told_block_by_block() -> None:
    np.testing.assert_allclose(block_norms(np.array([[3.0, 1.0, 4.0, -2.0]]), np.array([5, 2, 5, 9])), [[1, 5, 2]])


def test_blocks_are_counted_without_gaps() -> None:
    assert dense_blocks(np.array([7, 3, 7, 20, 3])).tolist() == [2, 1, 2, 3, 1]


def test_gaps_between_block_numbers_change_nothing() -> None:
    dense = align(some_head(), some_statistics(), BLOCKS_C, 3, PLAN, seed=1)
    gapped = align(some_head(), some_statistics(), np.array([2, 2, 2, 9, 40, 40]), 40, PLAN, seed=1)
    np.testing.assert_array_equal(dense.weight_CD, gapped.weight_CD)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    heads = [align(some_head(), some_statistics(), BLOCKS_C, 3, PLAN, seed=seed) for seed in (1, 1, 2)]
    assert heads[0].weight_CD.tobytes() == heads[1].weight_CD.tobytes() != heads[2].weight_CD.tobytes()
    assert heads[0].bias_C.tobytes() == heads[1].bias_C.tobytes()


def test_alignment_repairs_a_head_whose_blocks_were_learned_apart() -> None:
    statistics, spoiled = some_statistics(), some_head()
    spoiled = Head(spoiled.weight_CD, np.where(BLOCKS_C == 3, 4.0, 0.0))
    features_ND, columns_N = statistics.sample(200, np.random.default_rng(5), 1e-4)
    before = (spoiled.logits(features_ND).argmax(axis=1) == columns_N).mean()
    plan = AlignmentPlan(epochs=5, samples_per_class=256, batch=32)
    aligned = align(spoiled, statistics, BLOCKS_C, 3, plan, seed=0)
    assert before < 0.5 < 0.9 < (aligned.logits(features_ND).argmax(axis=1) == columns_N).mean()


def test_a_class_may_have_several_gaussians() -> None:
    features_ND, halves_N = some_statistics(classes=12).sample(40, np.random.default_rng(2), 1e-4)
    columns_G = np.arange(12) // 2
    gaussians = ClassStatistics.from_features(features_ND, halves_N, 12)
    classes = ClassStatistics.from_features(features_ND, columns_G[halves_N], 6)
    plan = AlignmentPlan(epochs=5, samples_per_class=256, batch=32)
    of_one = align(some_head(), classes, BLOCKS_C, 3, plan, seed=0)
    of_two = align(some_head(), gaussians, BLOCKS_C, 3, plan, seed=0, columns_G=columns_G)
    right = [(head.logits(features_ND).argmax(axis=1) == columns_G[halves_N]).mean() for head in (of_one, of_two)]
    assert right[0] < right[1] and right[1] > 0.9


def test_gaussians_and_classes_must_fit() -> None:
    for columns_G in (np.array([0, 1, 2, 3, 4, 4]), np.array([0, 1, 2, 3, 4, 6])):
        with pytest.raises(ValueError, match="Gaussian"):
            align(some_head(), some_statistics(), BLOCKS_C, 3, PLAN, seed=0, columns_G=columns_G)


def test_as_many_features_of_a_class_are_drawn_whatever_its_gaussians(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(_HeadTrainer, "step", lambda trainer, features_BD, columns_B: seen.extend(columns_B.tolist()))
    columns_G = np.repeat(np.arange(6), 2)
    plan = replace(PLAN, epochs=1)
    align(some_head(), some_statistics(classes=12), BLOCKS_C, 3, plan, seed=0, columns_G=columns_G)
    assert np.bincount(seen).tolist() == [PLAN.samples_per_class] * 6


def test_the_head_given_is_left_alone() -> None:
    head, before = some_head(), some_head()
    align(head, some_statistics(), BLOCKS_C, 3, PLAN, seed=0)
    np.testing.assert_array_equal(head.weight_CD, before.weight_CD)


def test_every_switch_of_the_plan_matters() -> None:
    usual = align(some_head(), some_statistics(), BLOCKS_C, 3, PLAN, seed=0).weight_CD
    switches = ({"logit_norm": False}, {"mean_decay": False}, {"tau": 0.5}, {"ridge": 0.1}, {"lr": 0.1})
    for change in (*switches, *({"norm_blocks": rule} for rule in NORMS if rule != "alike")):
        other = align(some_head(), some_statistics(), BLOCKS_C, 3, replace(PLAN, **change), seed=0).weight_CD
        assert not np.array_equal(usual, other), change


def test_of_many_classes_fewer_features_are_drawn() -> None:
    plan = AlignmentPlan(samples_in_all=1_000)
    assert [plan.drawn(classes) for classes in (1, 3, 4, 10, 5_000)] == [256, 256, 250, 100, 1]
    few = align(some_head(), some_statistics(), BLOCKS_C, 3, replace(PLAN, samples_in_all=8 * len(BLOCKS_C)), seed=0)
    eight = align(some_head(), some_statistics(), BLOCKS_C, 3, replace(PLAN, samples_per_class=8), seed=0)
    np.testing.assert_array_equal(few.weight_CD, eight.weight_CD)


def test_an_epoch_in_parts_draws_as_many_features_of_every_class(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    step = _HeadTrainer.step

    def counted(trainer: _HeadTrainer, features_BD: Tensor, columns_B: Tensor) -> None:
        seen.extend(columns_B.tolist())
        step(trainer, features_BD, columns_B)

    monkeypatch.setattr(_HeadTrainer, "step", counted)
    monkeypatch.setattr("model.heads.alignment.LARGEST_DRAW_BYTES", 6 * D * 4 * 5)
    align(some_head(), some_statistics(), BLOCKS_C, 3, replace(PLAN, epochs=1), seed=0)
    assert np.bincount(seen).tolist() == [24] * 6


def test_a_class_of_one_image_and_a_block_of_one_class_are_ordinary() -> None:
    features_ND = np.random.default_rng(0).standard_normal((9, D)).astype(np.float32)
    statistics = ClassStatistics.from_features(features_ND, np.array([0, 0, 0, 0, 1, 2, 2, 2, 2]), 3)
    head = align(some_head(3), statistics, np.array([1, 2, 3]), 3, PLAN, seed=0)
    assert np.isfinite(head.weight_CD).all()
    assert head.logits(features_ND).argmax(axis=1)[4] == 1


def test_a_single_class_aligns_to_a_finite_head() -> None:
    statistics = some_statistics(classes=1)
    assert np.isfinite(align(some_head(1), statistics, np.array([1]), 1, PLAN, seed=0).weight_CD).all()


def test_what_does_not_fit_together_is_refused() -> None:
    statistics = some_statistics()
    with pytest.raises(ValueError, match="blocks"):
        align(some_head(5), statistics, BLOCKS_C, 3, PLAN, seed=0)
    with pytest.raises(ValueError, match="no images"):
        align(some_head(7), statistics.merged(ClassStatistics.empty(D, 7)), np.array([*BLOCKS_C, 4]), 4, PLAN, seed=0)
    with pytest.raises(ValueError, match="no class belongs"):
        align(some_head(), statistics, BLOCKS_C, 9, PLAN, seed=0)


def first_step_ratio(head: Head, statistics: ClassStatistics, plan: AlignmentPlan) -> float:
    energy = np.mean(
        [mean_D @ mean_D + np.trace(statistics.covariance(c)) for c, mean_D in enumerate(statistics.mean_CD)]
    )
    norm = float(naive_norm(torch.from_numpy(head.logits(statistics.mean_CD)), BLOCKS_C, plan.norm_blocks).mean())
    return float(plan.lr * energy / (norm**2 * plan.tau))


@pytest.mark.parametrize("norm_blocks", NORMS)
def test_a_head_of_tiny_logits_is_scaled_up_until_its_first_steps_are_small(norm_blocks: NormBlocks) -> None:
    head, statistics, plan = some_head(), some_statistics(), replace(PLAN, norm_blocks=norm_blocks)
    tiny = Head(head.weight_CD / 1_000, head.bias_C / 1_000)
    steady = steadied(tiny, statistics, BLOCKS_C, plan, 0.5)
    assert first_step_ratio(steady, statistics, plan) == pytest.approx(0.5, rel=1e-3)
    np.testing.assert_allclose(
        steady.weight_CD / steady.weight_CD[0, 0], head.weight_CD / head.weight_CD[0, 0], rtol=1e-4
    )


def test_a_head_of_large_logits_is_left_as_it_is() -> None:
    head, statistics = some_head(), some_statistics()
    large = Head(head.weight_CD * 100, head.bias_C * 100)
    np.testing.assert_array_equal(steadied(large, statistics, BLOCKS_C, PLAN, 1.0).weight_CD, large.weight_CD)


def test_a_head_of_tiny_logits_is_aligned_as_well_as_another() -> None:
    statistics, head = some_statistics(), some_head()
    tiny = Head(head.weight_CD / 1_000, head.bias_C / 1_000)
    features_ND, columns_N = statistics.sample(100, np.random.default_rng(5), 1e-4)
    plan = AlignmentPlan(samples_per_class=256, batch=32)
    aligned = align(tiny, statistics, BLOCKS_C, 3, plan, seed=0)
    thrown = align(tiny, statistics, BLOCKS_C, 3, replace(plan, largest_first_step=None), seed=0)
    assert (aligned.logits(features_ND).argmax(axis=1) == columns_N).mean() > 0.9
    assert (thrown.logits(features_ND).argmax(axis=1) == columns_N).mean() < 0.7


class Stopped(Exception):
    pass


@pytest.mark.parametrize("checks", [1, 6, 7, 20])
def test_whoever_checks_may_stop_it_at_any_class_that_is_drawn_and_any_step(checks: int) -> None:
    """An epoch draws six classes and takes nine steps."""
    asked: list[int] = []

    def check() -> None:
        asked.append(len(asked))
        if len(asked) == checks:
            raise Stopped

    with pytest.raises(Stopped):
        align(some_head(), some_statistics(), BLOCKS_C, 3, replace(PLAN, few_images=None), seed=1, check=check)
    assert len(asked) == checks


def test_being_asked_changes_no_byte() -> None:
    asked: list[int] = []
    heads = [
        align(some_head(), some_statistics(), BLOCKS_C, 3, replace(PLAN, few_images=None), seed=1, **check)
        for check in ({}, {"check": lambda: asked.append(0)})
    ]
    assert heads[0].weight_CD.tobytes() == heads[1].weight_CD.tobytes()
    assert len(asked) == PLAN.epochs * (6 + 9)
