"""The slow learner against a plain loop, and that it can stop anywhere and go on with the same bytes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from model.backbones.backbone import PixelBackbone, build
from model.backbones.spec import BackboneSpec
from model.heads.head import Head
from model.pixels.augmentation import training_view
from model.training.stage import Optimisation, Stage, Step, SymmetricCrossEntropy
from model.training.tuning import TuningPlan, TuningProgress, _Run, tune
from model.training.tuning_state import EpochRecord, TuningState
from model.tuners import FrozenTuner, FullTuner
from tests.model.pictures import Pictures, made

VIT = BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3)
CONVOLUTIONAL = BackboneSpec("test_efficientnet", 32, (0.5,) * 3, (0.5,) * 3)
PLAN = TuningPlan(epochs=3, batch_size=8, micro_batch=4, milestones=(2,), seed=5, threads=1)


def fresh(spec: BackboneSpec = VIT) -> PixelBackbone:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(spec)


def some_head(backbone: PixelBackbone, classes: int = 3) -> Head:
    rng = np.random.default_rng(0)
    return Head(rng.standard_normal((classes, backbone.feature_dim)) * 0.02, np.zeros(classes))


@pytest.fixture
def images() -> Pictures:
    pictures, labels = made(range(3), 6)
    return Pictures(pictures, np.array([int(label[1:]) for label in labels]))


@pytest.fixture
def backbone() -> Iterator[PixelBackbone]:
    one = fresh()
    FullTuner().begin(one, 1, 0)
    yield one


class Stop(Exception):
    pass


def plain_loop(backbone: PixelBackbone, images: Pictures, head: Head, plan: TuningPlan) -> tuple[PixelBackbone, Head]:
    layer = layer_of(head)
    groups = [{"params": layer.parameters()}, {"params": backbone.parameters(), "lr": plan.backbone_lr}]
    optimiser = torch.optim.SGD(groups, lr=plan.head_lr, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(plan.milestones), gamma=0.1)
    loop(backbone, layer, images, plan, optimiser.step, schedule.step)
    return backbone, Head(layer.weight.detach().numpy(), layer.bias.detach().numpy())


def layer_of(head: Head) -> nn.Linear:
    layer = nn.Linear(head.weight_CD.shape[1], head.class_count)
    layer.load_state_dict({"weight": torch.tensor(head.weight_CD), "bias": torch.tensor(head.bias_C)})
    return layer


def loop(
    backbone: PixelBackbone,
    layer: nn.Linear,
    images: Pictures,
    plan: TuningPlan,
    take_step: Callable[[], object],
    end_epoch: Callable[[], None] = lambda: None,
) -> None:
    """The gradient of each batch's mean cross-entropy, from nought, and a step."""
    backbone.train()
    for epoch in range(plan.epochs):
        order_N = np.random.default_rng([plan.seed, epoch]).permutation(len(images))
        for start in range(0, len(images), plan.batch_size):
            batch = order_N[start : start + plan.batch_size]
            views = [
                training_view(
                    images.pixels(i), backbone.spec, np.random.default_rng([plan.seed, epoch, i]), plan.augmentation
                )
                for i in batch
            ]
            backbone.zero_grad()
            layer.zero_grad()
            logits = layer(backbone(torch.from_numpy(np.stack(views))))
            nn.functional.cross_entropy(logits, torch.tensor(images.columns_N[batch])).backward()
            take_step()
        end_epoch()


@pytest.mark.parametrize("micro_batch", [8, 3])
def test_it_learns_what_a_plain_loop_of_sgd_learns(backbone: PixelBackbone, images: Pictures, micro_batch: int) -> None:
    plan = replace(PLAN, micro_batch=micro_batch, backbone_lr=1e-3)
    expected, expected_head = plain_loop(fresh(), images, some_head(backbone), plan)
    state = tune(backbone, images, some_head(backbone), plan)
    np.testing.assert_allclose(state.head.weight_CD, expected_head.weight_CD, atol=2e-5)
    moved = 0.0
    for name, value in expected.state().items():
        torch.testing.assert_close(state.backbone[name], value, atol=2e-5, rtol=1e-3)
        moved = max(moved, float((value - fresh().state()[name]).abs().max()))
    assert moved > 1e-4


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_method_steps_in_its_own_way(images: Pictures, optimiser: Literal["sgd", "adam"]) -> None:
    """L2P's way, with a backbone that moves: a rate by the size of the batch that never falls, and a short gradient."""
    backbone, restated = fresh(), fresh()
    head = some_head(backbone)
    FullTuner().begin(backbone, 1, 0)
    way = Optimisation(optimiser, "constant", lr_per_256=0.32, weight_decay=0.1, clip_norm=0.2)
    state = tune(backbone, images, head, PLAN, stage=Stage(FullTuner(ratio=0.1).groups(backbone, 1), optimisation=way))
    layer, norms = layer_of(head), []
    parameters = [*layer.parameters(), *restated.parameters()]
    groups = [{"params": layer.parameters(), "lr": 0.01}, {"params": restated.parameters(), "lr": 0.001}]
    stepper = (
        torch.optim.Adam(groups, weight_decay=0.1)
        if optimiser == "adam"
        else torch.optim.SGD(groups, momentum=0.9, weight_decay=0.1)
    )

    def clipped_step() -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norms.append(float(torch.sqrt(sum(gradient.square().sum() for gradient in gradients))))
        for gradient in gradients:
            gradient *= min(1.0, 0.2 / norms[-1])
        stepper.step()

    loop(restated, layer, images, PLAN, clipped_step)
    assert max(norms) > 0.3
    np.testing.assert_allclose(state.head.weight_CD, layer.weight.detach().numpy(), atol=1e-5)
    for name, value in restated.state().items():
        if "bias" not in name:  # those of keys have gradients of rounding alone, which Adam makes whole steps of
            torch.testing.assert_close(state.backbone[name], value, atol=5e-5, rtol=1e-3)


def test_symmetric_cross_entropy_is_that_of_slca_plus_plus() -> None:
    """method.md 3: one-hot targets clamped at 1e-4, answers at 1e-7; the sum over the images."""
    logits = [[0.5, -1.0, 2.0], [0.0, 0.0, 0.0], [40.0, -40.0, 0.0], [-3.0, 1.0, 0.2], [1.0, 2.0, 3.0]]
    columns = [2, 0, 1, 1, 0]
    expected = 0.0
    for row, column in zip(logits, columns, strict=True):
        weights = [math.exp(one - max(row)) for one in row]
        answers = [one / sum(weights) for one in weights]
        targets = [1.0 if place == column else 1e-4 for place in range(3)]
        reverse = -sum(max(p, 1e-7) * math.log(target) for p, target in zip(answers, targets, strict=True))
        plain = max(row) + math.log(sum(weights)) - row[column]
        expected += 0.7 * plain + 0.3 * reverse
    found = SymmetricCrossEntropy(0.7, 0.3)(torch.tensor(logits), torch.tensor(columns))
    assert float(found) == pytest.approx(expected, rel=1e-5)


class Weighed:
    """`added` times the features' mean square, beside `loss_weight` of the loss."""

    def __init__(self, loss_weight: float, added: float = 0.0) -> None:
        self.loss_weight, self.added = loss_weight, added

    def __call__(self, step: Step) -> torch.Tensor:
        return self.added * step.features_BD.square().mean()

    def state(self) -> dict[str, torch.Tensor]:
        return {}

    def take(self, state: object) -> None:
        pass


def tuned_under(images: Pictures, penalty: Weighed, **changes: object) -> TuningState:
    one = fresh()
    FullTuner().begin(one, 1, 0)
    stage = Stage(FullTuner().groups(one, 1), penalties=[penalty])
    plan = replace(PLAN, epochs=1, backbone_lr=1e-2, weight_decay=0.0, augmentation="none", **changes)
    return tune(one, images, some_head(one), plan, stage=stage)


def test_a_penalty_that_leaves_nothing_of_the_loss_moves_nothing_by_it(images: Pictures) -> None:
    still, moved = (tuned_under(images, Weighed(weight)) for weight in (0.0, 0.5))
    head = some_head(fresh())
    np.testing.assert_array_equal(still.head.weight_CD, head.weight_CD)
    assert np.abs(moved.head.weight_CD - head.weight_CD).max() > 1e-4


@pytest.mark.parametrize("micro_batch", [3, 5])
def test_a_penalty_weighs_the_same_however_small_the_parts_are_that_a_batch_is_learned_in(
    images: Pictures, micro_batch: int
) -> None:
    """A mean over the images of each part, as those of distillation and consolidation are."""
    whole, parts = (tuned_under(images, Weighed(1.0, 0.5), micro_batch=size) for size in (8, micro_batch))
    without = tuned_under(images, Weighed(1.0), micro_batch=8)
    for name, value in whole.backbone.items():
        torch.testing.assert_close(parts.backbone[name], value, atol=1e-6, rtol=1e-4)
    assert max(float((value - without.backbone[name]).abs().max()) for name, value in whole.backbone.items()) > 1e-4


def test_the_block_becomes_known_and_the_epochs_are_told(backbone: PixelBackbone, images: Pictures) -> None:
    plan = replace(PLAN, epochs=12, milestones=(10,), backbone_lr=0.01, head_lr=0.05, augmentation="none")
    state = tune(backbone, images, some_head(backbone), plan)
    assert state.done and len(state.history) == 12
    assert state.history[-1].accuracy > 0.9 > state.history[0].accuracy
    assert state.history[-1].loss < state.history[0].loss


@pytest.mark.parametrize("stop_after", [1, 2, 5, 6, 8])
def test_a_stopped_run_goes_on_with_the_bytes_of_an_uninterrupted_one(
    backbone: PixelBackbone, images: Pictures, stop_after: int
) -> None:
    expected = tune(backbone, images, some_head(backbone), PLAN).to_bytes()
    saved: list[bytes] = []
    seconds = iter(range(0, 100_000, 61))

    def stop(progress: TuningProgress) -> None:
        if progress.step > stop_after:
            raise Stop

    again = fresh()
    FullTuner().begin(again, 1, 0)
    with pytest.raises(Stop):
        tune(
            again,
            images,
            some_head(backbone),
            PLAN,
            on_step=stop,
            on_checkpoint=lambda state: saved.append(state.to_bytes()),
            clock=lambda: float(next(seconds)),
        )
    other = fresh()
    FullTuner().begin(other, 1, 0)
    resumed = tune(other, images, some_head(backbone), PLAN, resume=TuningState.from_bytes(saved[-1]))
    assert resumed.to_bytes() == expected


@pytest.mark.parametrize("view_threads", [1, 3])
def test_views_made_ahead_change_not_a_byte(backbone: PixelBackbone, images: Pictures, view_threads: int) -> None:
    expected = tune(backbone, images, some_head(backbone), PLAN).to_bytes()
    other = fresh()
    FullTuner().begin(other, 1, 0)
    plan = replace(PLAN, view_threads=view_threads)
    assert tune(other, images, some_head(backbone), plan).to_bytes() == expected


def test_a_finished_state_is_given_back_as_it_is(backbone: PixelBackbone, images: Pictures) -> None:
    done = tune(backbone, images, some_head(backbone), PLAN)
    assert tune(backbone, images, some_head(backbone), PLAN, resume=done).to_bytes() == done.to_bytes()


def test_a_frozen_backbone_gets_no_gradient_at_all(images: Pictures) -> None:
    backbone = fresh()
    FrozenTuner().begin(backbone, 1, 0)
    state = tune(backbone, images, some_head(backbone), PLAN)
    assert all(parameter.grad is None for parameter in backbone.parameters())
    for name, value in fresh().state().items():
        assert torch.equal(state.backbone[name], value), name
    assert not np.array_equal(state.head.weight_CD, some_head(backbone).weight_CD)
    assert set(state.momentum) == {"head.weight_CD", "head.bias_C"}


def test_running_statistics_of_batch_norm_stay(images: Pictures) -> None:
    backbone = fresh(CONVOLUTIONAL)
    FullTuner().begin(backbone, 1, 0)
    state = tune(backbone, images, some_head(backbone), replace(PLAN, backbone_lr=0.01))
    before = fresh(CONVOLUTIONAL).state()
    assert any("running_mean" in name for name in before)
    for name, value in before.items():
        if "running" in name:
            assert torch.equal(state.backbone[name], value), name
    assert any(not torch.equal(state.backbone[name], value) for name, value in before.items())


def test_half_precision_learns_nearly_the_same(backbone: PixelBackbone, images: Pictures) -> None:
    state = tune(backbone, images, some_head(backbone), replace(PLAN, precision="bf16"))
    full = fresh()
    FullTuner().begin(full, 1, 0)
    exact = tune(full, images, some_head(backbone), PLAN)
    assert all(value.dtype == torch.float32 for value in state.backbone.values())
    np.testing.assert_allclose(state.head.weight_CD, exact.head.weight_CD, atol=5e-3)


def test_progress_counts_micro_batches_and_steps(backbone: PixelBackbone, images: Pictures) -> None:
    told: list[TuningProgress] = []
    tune(backbone, images, some_head(backbone), PLAN, on_step=told.append)
    assert [progress.step for progress in told[:5]] == [1, 1, 2, 2, 3]
    assert told[-1].step == told[-1].steps == 9
    assert {progress.epoch for progress in told} == {0, 1, 2}
    assert all(progress.seconds >= 0 for progress in told)


def test_a_limit_in_minutes_becomes_a_number_of_epochs_before_the_second(
    backbone: PixelBackbone, images: Pictures
) -> None:
    now = [0.0]
    saved: list[TuningState] = []

    def slow(progress: TuningProgress) -> None:
        now[0] += 10.0

    plan = replace(PLAN, epochs=20, milestones=(18,), max_minutes=3.0)
    state = tune(
        backbone, images, some_head(backbone), plan, on_step=slow, on_checkpoint=saved.append, clock=lambda: now[0]
    )
    first = next(one for one in saved if one.epoch == 1 and one.step == 0)
    assert first.epochs == 3
    assert len(state.history) == 3
    rest = tune(fresh(), images, some_head(backbone), plan, resume=first)
    assert rest.epochs == 3


def test_one_epoch_is_learned_however_short_the_time() -> None:
    plan = TuningPlan(epochs=10, max_minutes=0.001)
    assert plan.epochs_within(500.0) == 1
    assert TuningPlan(epochs=10, max_minutes=1e6).epochs_within(1.0) == 10
    assert TuningPlan(epochs=10).epochs_within(1e9) == 10


def test_rates_fall_at_the_milestones_and_where_they_move_to() -> None:
    plan = TuningPlan(epochs=20, milestones=(10, 18))
    assert [plan.rate_factor(epoch, 20) for epoch in (0, 9, 10, 17, 18)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert [plan.rate_factor(epoch, 4) for epoch in (0, 1, 2, 3)] == pytest.approx([1, 1, 0.1, 0.01])
    assert plan.rate_factor(0, 1) == 1


@pytest.mark.parametrize("epochs", [1, 4, 20])
def test_a_quarter_of_the_wave_falls_late_and_nearly_to_nothing(images: Pictures, epochs: int) -> None:
    backbone = fresh()
    FullTuner().begin(backbone, 1, 0)
    groups = FullTuner(ratio=0.1).groups(backbone, 1)
    stage = Stage(groups, optimisation=Optimisation("adam", "quarter_cosine", head_lr=0.5))
    start = TuningState.start(backbone.state(), some_head(backbone), epochs)
    run = _Run(backbone, images, start, replace(PLAN, epochs=epochs), stage)
    rates = [run._rate(0.5)]
    for _ in range(epochs - 1):
        run.finish_epoch()
        rates.append(run._rate(0.5))
    wanted = [0.5 * math.cos(99 * math.pi * epoch / (200 * max(1, epochs - 1))) for epoch in range(epochs)]
    assert rates == pytest.approx(wanted)
    assert epochs == 1 or rates[-1] < 0.01


def test_torchs_own_randomness_and_threads_are_left_alone(backbone: PixelBackbone, images: Pictures) -> None:
    torch.manual_seed(3)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(3)
    tune(backbone, images, some_head(backbone), replace(PLAN, epochs=1, threads=2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_nothing_to_learn_from_is_refused(backbone: PixelBackbone) -> None:
    with pytest.raises(ValueError, match="no images"):
        tune(backbone, Pictures([], np.zeros(0, np.int64)), some_head(backbone), PLAN)


def test_a_state_reads_back_with_all_that_it_held(backbone: PixelBackbone, images: Pictures) -> None:
    state = tune(backbone, images, some_head(backbone), replace(PLAN, epochs=1))
    back = TuningState.from_bytes(state.to_bytes())
    assert (back.epoch, back.step, back.epochs, back.done) == (1, 0, 1, True)
    assert back.history == state.history and isinstance(back.history[0], EpochRecord)
    assert back.momentum.keys() == state.momentum.keys()
    assert back.backbone.keys() == state.backbone.keys()


@pytest.mark.parametrize("data", [b"", b"\x00" * 40, b"not a state at all, but long enough to be read"])
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a tuning state"):
        TuningState.from_bytes(data)


def test_tensors_without_the_numbers_are_no_state() -> None:
    from safetensors.torch import save

    with pytest.raises(ValueError, match="not a tuning state"):
        TuningState.from_bytes(save({"weight_CD": torch.zeros(1, 1), "bias_C": torch.zeros(1)}))


@pytest.mark.parametrize(
    ("tuner", "same_as"), [(FullTuner(scale=3.0), {"backbone_lr": 3e-4}), (FullTuner(ratio=0.5), {"backbone_lr": 5e-3})]
)
def test_a_tuner_says_how_fast_the_backbone_moves(
    tuner: FullTuner, same_as: dict[str, float], images: Pictures
) -> None:
    told, plain = fresh(), fresh()
    for one in (told, plain):
        tuner.begin(one, 1, 0)
    stage = Stage(tuner.groups(told, 1))
    moved = tune(told, images, some_head(told), PLAN, stage=stage)
    expected = tune(plain, images, some_head(plain), replace(PLAN, **same_as))
    for name, tensor in expected.backbone.items():
        torch.testing.assert_close(moved.backbone[name], tensor)
