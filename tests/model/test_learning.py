"""The story of a task, told with a real (tiny) network on small made pictures."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from model import paper
from model.aligners import GaussianAligner
from model.backbones.backbone import PixelBackbone, build, extract_features
from model.backbones.seen import PairedFeatures, Seen
from model.backbones.spec import BackboneSpec
from model.block import Block, lay_out, starting_head
from model.continual import restarted
from model.first_stage import Started, network_of, positions, settled, standing_end, start
from model.heads.alignment import AlignmentPlan, align
from model.heads.closed_form import linear_discriminant
from model.learning import Making, carried, final, provisional
from model.method import Method
from model.methods import METHODS, method_named
from model.pixels.preprocess import evaluation_view
from model.scores.calibration import fit_temperature
from model.scores.confidence import SAMPLED_KNOWN_RATE, HeldOut, calibrated
from model.scores.novelty import KNOWN_RATE, SAMPLES
from model.snapshot import Snapshot
from model.statistics.class_statistics import ClassStatistics
from model.statistics.drift import RidgeDrift
from model.statistics.predictive import sample_new_images
from model.training.averaging import EvenAveraging
from model.training.tuning import TuningPlan, tune
from model.training.tuning_state import TuningState
from model.tuners import FullTuner
from tests.model.pictures import Pictures, made

SPEC = BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3)
PLAN = TuningPlan(epochs=2, batch_size=8, micro_batch=8, milestones=(1,), backbone_lr=1e-3, threads=1)
SLCA = METHODS["slca"]
NO_COLUMNS = np.zeros(0, np.int64)


class Learner:
    """A lineage of versions, learned the way that the learner process does it."""

    def __init__(self, method: Method = SLCA) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.backbone: PixelBackbone = build(SPEC)
        self.method = method
        self.version = Snapshot.root(SPEC, self.backbone.state(), self.backbone.feature_dim, "slca")

    def features(self, pictures: list[np.ndarray], weights: Mapping[str, Tensor]) -> np.ndarray:
        self.backbone.load(weights)
        return extract_features(self.backbone, (evaluation_view(one, SPEC) for one in pictures), batch_size=16)

    def provisional(self, pictures: list[np.ndarray], labels: list[str], task: str = "t") -> tuple[Block, Snapshot]:
        block = lay_out(self.version, labels)
        old_ND = self.features(pictures, self.version.backbone)
        return block, provisional(self.version, Seen(old_ND), block, Making(self.method, 1), task=task)

    def learn(self, pictures: list[np.ndarray], labels: list[str], task: str, seed: int = 1) -> Snapshot:
        base, block = self.version, lay_out(self.version, labels)
        old_ND = self.features(pictures, base.backbone)
        if not block.needs_tuning:
            self.version = provisional(base, Seen(old_ND), block, Making(self.method, seed), task=task)
            return self.version
        started, state = self.tuned(pictures, block, seed)
        moved = settled(started.start.network, started, state, self.method)
        pair = PairedFeatures(Seen(old_ND), Seen(self.features(pictures, moved.plain)))
        self.version = final(base, moved, state.head, pair, block, Making(self.method, seed), task=task)
        return self.version

    def tuned(self, pictures: list[np.ndarray], block: Block, seed: int) -> tuple[Started, TuningState]:
        images = Pictures(pictures, positions(block, self.method))
        network = network_of(self.version, self.method)
        started = start(network, self.version, block, images, self.method, replace(PLAN, seed=seed))
        return started, tune(network, images, started.head, replace(PLAN, seed=seed), stage=started.stage)

    def accuracy(self, classes: range | list[int], version: Snapshot) -> float:
        pictures, labels = made(classes, 10, seed=77)
        answers = version.aligned.logits(self.features(pictures, version.backbone)).argmax(axis=1)
        return float(np.mean([version.labels[column] == label for column, label in zip(answers, labels, strict=True)]))


@pytest.fixture
def two_tasks() -> Learner:
    learner = Learner()
    learner.learn(*made(range(3), 12), task="first")
    learner.learn(*made(range(3, 5), 12), task="second")
    return learner


def test_a_provisional_version_knows_the_new_classes_at_once_and_forgets_none(two_tasks: Learner) -> None:
    _, version = two_tasks.provisional(*made(range(5, 8), 12))
    assert version.labels == tuple(f"c{number}" for number in range(8))
    assert version.backbone is two_tasks.version.backbone
    assert two_tasks.accuracy(range(5, 8), version) > 0.8
    assert two_tasks.accuracy(range(5), version) > 0.8


def test_second_views_tell_more_of_a_class_whose_images_count_once(two_tasks: Learner) -> None:
    pictures, labels = made(range(5, 8), 12)
    block, plain = two_tasks.provisional(pictures, labels)
    features_ND = two_tasks.features(pictures, two_tasks.version.backbone)
    second_ND = two_tasks.features([one[:, ::-1] for one in pictures], two_tasks.version.backbone)
    seen = provisional(
        two_tasks.version, Seen(features_ND, {"middle": second_ND}), block, Making(SLCA, 1), task="t"
    ).statistics
    np.testing.assert_array_equal(seen.count_C, plain.statistics.count_C)
    mean_D = (features_ND[:12].mean(axis=0) + second_ND[:12].mean(axis=0)) / 2
    np.testing.assert_allclose(seen.mean_CD[5], mean_D, rtol=1e-4, atol=1e-5)
    assert [len(seen.factors[c]) for c in (4, 5)] == [11, 11]


def test_a_provisional_version_keeps_the_un_aligned_rows_of_its_base(two_tasks: Learner) -> None:
    block, version = two_tasks.provisional(*made([2, 6], 12))
    before = two_tasks.version.unaligned
    np.testing.assert_array_equal(version.unaligned.weight_CD[:5], before.weight_CD)
    expected = linear_discriminant(version.statistics).weight_CD[5]
    row_D = version.unaligned.weight_CD[5]
    assert row_D @ expected / (np.linalg.norm(row_D) * np.linalg.norm(expected)) == pytest.approx(1, abs=1e-5)
    assert block.known_columns.tolist() == [2]


def test_a_provisional_head_is_aligned_where_there_are_old_classes_and_the_method_aligns() -> None:
    learner = Learner()
    _, first = learner.provisional(*made(range(3), 12))
    expected = linear_discriminant(first.statistics).weight_CD
    cosine_C = (first.aligned.weight_CD * expected).sum(1) / np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(cosine_C / np.linalg.norm(first.aligned.weight_CD, axis=1), 1, atol=1e-5)
    learner.learn(*made(range(3), 12), task="first")
    block, second = learner.provisional(*made(range(3, 5), 12))
    plan = learner.method.aligner.plan
    assert plan is not None
    head = align(second.unaligned, second.statistics, second.blocks_C, block.number, plan, seed=1)
    np.testing.assert_array_equal(second.aligned.weight_CD, head.weight_CD)


def test_a_provisional_version_can_be_learned_on_from(two_tasks: Learner) -> None:
    _, two_tasks.version = two_tasks.provisional(*made([5], 12))
    version = two_tasks.learn(*made([6, 7], 12), task="later")
    assert len(version.classes) == 8 and version.classes[5].block == 3 and version.classes[7].block == 4


def test_the_first_final_version_is_not_aligned_and_later_ones_are() -> None:
    learner = Learner()
    first = learner.learn(*made(range(3), 12), task="first")
    np.testing.assert_array_equal(first.aligned.weight_CD, first.unaligned.weight_CD)
    second = learner.learn(*made(range(3, 5), 12), task="second")
    assert not np.array_equal(second.aligned.weight_CD, second.unaligned.weight_CD)


def test_alignment_after_a_task_makes_old_and_new_classes_comparable() -> None:
    learner = Learner(Method(FullTuner(), GaussianAligner(AlignmentPlan(batch=16))))
    learner.learn(*made(range(3), 12), task="first")
    version = learner.learn(*made(range(3, 5), 12), task="second")
    before = replace(version, aligned=version.unaligned)
    assert learner.accuracy(range(5), before) < 0.7 < 0.9 < learner.accuracy(range(5), version)


def test_the_next_task_starts_from_un_aligned_rows(two_tasks: Learner) -> None:
    before = two_tasks.version
    after = two_tasks.learn(*made([5, 6], 12), task="third")
    np.testing.assert_array_equal(after.unaligned.weight_CD[:5], before.unaligned.weight_CD)
    np.testing.assert_array_equal(after.unaligned.bias_C[:5], before.unaligned.bias_C)


def test_the_papers_method_leaves_old_statistics_as_they_were(two_tasks: Learner) -> None:
    before = two_tasks.version.statistics
    after = two_tasks.learn(*made([5, 6], 12), task="third").statistics
    np.testing.assert_array_equal(after.mean_CD[:5], before.mean_CD)
    np.testing.assert_allclose(after.covariance(0), before.covariance(0), rtol=1e-4, atol=1e-6)


def test_new_statistics_are_those_of_the_new_backbones_features(two_tasks: Learner) -> None:
    pictures, labels = made([5, 6], 12)
    version = two_tasks.learn(pictures, labels, task="third")
    features_ND = two_tasks.features(pictures, version.backbone)
    np.testing.assert_allclose(version.statistics.mean_CD[5], features_ND[:12].mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        version.statistics.covariance(6), np.cov(features_ND[12:], rowvar=False), rtol=1e-2, atol=1e-4
    )


def test_the_backbone_slows_down_after_the_first_task() -> None:
    learner = Learner(method_named("slca++"))
    scales: list[list[float]] = []
    for task in (1, 2):
        pictures, labels = made([2 * task, 2 * task + 1], 4)
        block, images = lay_out(learner.version, labels), Pictures(pictures, np.repeat([0, 1], 4))
        for method in (learner.method, method_named("slca+++slower")):
            network = network_of(learner.version, method)
            begun = start(network, learner.version, block, images, method, PLAN)
            scales.append([group.scale for group in begun.stage.groups])
        learner.learn(pictures, labels, task=f"task-{task}")
    assert scales == [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.5, 0.5]]


def test_a_class_that_comes_again_keeps_its_column_and_counts_all_its_images(two_tasks: Learner) -> None:
    version = two_tasks.learn(*made([1, 6], 7, seed=9), task="again")
    again, fresh = version.classes[1], version.classes[5]
    assert (again.label, again.since, again.block, again.images) == ("c1", "first", 3, 19)
    assert (fresh.label, fresh.since, fresh.block, fresh.images) == ("c6", "again", 3, 7)
    assert version.classes[0].block == 1


def some_pair() -> PairedFeatures:
    rng = np.random.default_rng(0)
    old_ND = rng.standard_normal((30, 6)).astype(np.float32)
    new_ND = (old_ND @ (np.eye(6) + 0.3 * rng.standard_normal((6, 6)))).astype(np.float32)
    return PairedFeatures(Seen(old_ND), Seen(new_ND))


def test_known_classes_are_carried_before_they_are_merged_and_others_only_on_request() -> None:
    features_ND = np.random.default_rng(1).standard_normal((20, 6)).astype(np.float32)
    statistics = ClassStatistics.from_features(features_ND, np.repeat([0, 1], 10), 2)
    columns_N = np.repeat([1, 2, 3], 10)
    everywhere = RidgeDrift().fit(*some_pair().of_drift(columns_N)).carry(statistics)
    chosen = carried(statistics, some_pair(), np.array([1]), None, columns_N)
    np.testing.assert_array_equal(chosen.mean_CD, [statistics.mean_CD[0], everywhere.mean_CD[1]])
    np.testing.assert_array_equal(chosen.factors[0], statistics.factors[0])
    np.testing.assert_array_equal(chosen.factors[1], everywhere.factors[1])
    full = carried(statistics, some_pair(), NO_COLUMNS, RidgeDrift(), columns_N)
    np.testing.assert_array_equal(full.mean_CD, everywhere.mean_CD)
    np.testing.assert_array_equal(chosen.drift_error_C, [0, everywhere.drift_error_C[1]])
    assert carried(statistics, some_pair(), NO_COLUMNS, None, columns_N) is statistics


@pytest.mark.parametrize("scope", ["block", "rows"])
def test_what_is_remembered_of_a_task_on_a_standing_backbone_is_of_its_own_rows(scope: str) -> None:
    learner = Learner(replace(SLCA, scope=scope))
    base = learner.learn(*made(range(3), 8), task="first")
    pictures, labels = made([4, 1], 8)
    block, snapshot = learner.provisional(pictures, labels)
    images = Pictures(pictures, positions(block, learner.method))
    network = network_of(base, learner.method, "cpu")
    end = standing_end(network, snapshot, base, block, images, learner.method, PLAN)
    own = snapshot.unaligned.rows(block.image_columns_N)
    np.testing.assert_array_equal(end.head.rows(images.columns_N).weight_CD, own.weight_CD)
    assert end.head.class_count == (2 if scope == "block" else 4)


def test_rows_drawn_again_are_none_of_those_that_new_classes_get() -> None:
    base = Learner().learn(*made(range(3), 8), task="first")
    again = restarted(base, base, 7).unaligned
    fresh = starting_head(base, lay_out(base, ["x", "y", "z"]), 7)
    assert not np.isclose(again.weight_CD, fresh.weight_CD).all(axis=1).any()


def test_a_method_with_drift_moves_every_old_mean() -> None:
    learner = Learner(method_named("slca+drift"))
    before = learner.learn(*made(range(3), 12), task="first").statistics
    after = learner.learn(*made([3, 4], 12), task="second").statistics
    assert (np.abs(after.mean_CD[:3] - before.mean_CD) > 0).any(axis=1).all()


def test_a_method_without_alignment_serves_the_slow_learners_head() -> None:
    learner = Learner(METHODS["sl"])
    learner.learn(*made(range(3), 12), task="first")
    version = learner.learn(*made([3, 4], 12), task="second")
    np.testing.assert_array_equal(version.aligned.weight_CD, version.unaligned.weight_CD)


def test_averaging_takes_the_backbone_half_way() -> None:
    learner = Learner(Method(FullTuner(), averaging=EvenAveraging(0.5)))
    base = learner.version
    pictures, labels = made(range(2), 8)
    started, state = learner.tuned(pictures, lay_out(base, labels), 1)
    name = "network.patch_embed.proj.weight"
    tuned = state.backbone[name].clone()
    halfway = settled(started.start.network, started, state, learner.method).plain
    torch.testing.assert_close(halfway[name], (base.backbone[name] + tuned) / 2)
    whole = settled(started.start.network, started, state, SLCA).plain
    torch.testing.assert_close(whole[name], tuned)


def test_a_task_of_one_class_makes_a_version_on_the_same_backbone(two_tasks: Learner) -> None:
    before = two_tasks.version
    version = two_tasks.learn(*made([9], 12), task="single")
    assert version.backbone is before.backbone
    assert two_tasks.accuracy([9], version) > 0.8 and two_tasks.accuracy(range(5), version) > 0.8


def test_one_image_of_a_class_is_an_ordinary_task(two_tasks: Learner) -> None:
    version = two_tasks.learn(*made([7, 8], 1), task="tiny")
    assert np.isfinite(version.aligned.weight_CD).all()
    assert version.classes[-1].images == 1
    assert two_tasks.accuracy(range(5), version) > 0.6


def test_a_first_task_of_one_class_and_one_image_serves() -> None:
    learner = Learner()
    version = learner.learn(*made([0], 1), task="one")
    assert learner.accuracy([0], version) == 1.0
    assert learner.learn(*made([1, 2], 6), task="two").labels == ("c0", "c1", "c2")


def test_the_same_task_from_the_same_base_gives_the_same_bytes() -> None:
    parts = []
    for _ in range(2):
        learner = Learner()
        learner.learn(*made(range(3), 8), task="first")
        parts.append(learner.learn(*made(range(2, 5), 8), task="second").to_parts())
    assert parts[0] == parts[1]


def held_out(learner: Learner, classes: range, per_class: int) -> HeldOut:
    pictures, labels = made(classes, per_class, seed=5)
    columns_N = np.array([learner.version.labels.index(label) for label in labels])
    features_ND = learner.features(pictures, learner.version.backbone)
    return HeldOut(features_ND, columns_N, np.arange(len(labels)) % 2 == 0)


def test_scores_and_the_known_rule_are_fitted_on_one_half_and_reported_on_the_other(two_tasks: Learner) -> None:
    version, report = calibrated(two_tasks.version, held_out(two_tasks, range(5), 20), seed=0)
    assert version.temperature == report.temperature != 1.0
    assert report.images == 50
    assert report.calibration_error is not None and report.calibration_error < 0.2
    assert report.known_rate is not None and report.known_rate > 0.7
    unknown, _ = made(range(20, 26), 5)
    assert version.novelty is not None
    assert version.novelty.known(two_tasks.features(unknown, version.backbone)).mean() < 0.5


@pytest.mark.parametrize("per_class", [0, 3])
def test_with_too_few_held_out_images_the_statistics_are_sampled(two_tasks: Learner, per_class: int) -> None:
    few = (
        held_out(two_tasks, range(5), per_class)
        if per_class
        else HeldOut(
            np.zeros((0, two_tasks.backbone.feature_dim), np.float32), np.zeros(0, np.int64), np.zeros(0, bool)
        )
    )
    version, report = calibrated(two_tasks.version, few, seed=0)
    assert 0 < version.temperature < 1_000 and version.novelty is not None
    assert (report.calibration_error is None) is (per_class == 0)
    assert calibrated(two_tasks.version, few, seed=0)[1] == report
    new_ND, columns_N = sample_new_images(version.statistics, SAMPLES, np.random.default_rng(0))
    images = int(version.statistics.count_C.sum())
    fitted = fit_temperature(version.aligned.logits(new_ND), columns_N, images)
    assert version.temperature == pytest.approx(2 * fitted)
    drawn_ND, _ = version.statistics.sample(SAMPLES, np.random.default_rng(0), paper.RIDGE)
    rates = [version.novelty.known(features_ND).mean() for features_ND in (drawn_ND, new_ND)]
    above = [rate - least for rate, least in zip(rates, (SAMPLED_KNOWN_RATE, KNOWN_RATE), strict=True)]
    assert 0 <= min(above) < 0.005


def test_versions_with_another_head_lose_their_rule(two_tasks: Learner) -> None:
    two_tasks.version, _ = calibrated(two_tasks.version, held_out(two_tasks, range(5), 20), seed=0)
    assert two_tasks.provisional(*made([5], 6))[1].novelty is None
