"""DER++, BiC and GDumb: formulas restated, what is kept, and that they forget less than the slow learner."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.backbones.backbone import build
from model.backbones.features import features_of
from model.backbones.seen import Seen
from model.backbones.spec import BackboneSpec
from model.block import lay_out
from model.first_stage import network_of, positions, standing_end
from model.heads.head import Head
from model.learning import Making, provisional
from model.memories import BiasCorrection, DarkExperience, GreedyMemory
from model.memories.album import Album
from model.memories.bias_correction import Correction, fitted_bias, held_out_rows
from model.memories.dark_experience import Experience, ReplayPenalty, stored_difference
from model.method import Method, TaskStart, slot
from model.methods import METHODS
from model.regularisers.distillation import DistillationPenalty
from model.snapshot import Snapshot
from model.training.stage import Step
from model.tuners import FullTuner
from tests.model.check_method import PLAN, Lineage
from tests.model.pictures import Pictures, made


def kept_columns(version: Snapshot) -> np.ndarray:
    return version.kept["memory/columns_N"].numpy()


def test_only_stored_logits_are_compared() -> None:
    stored = torch.tensor([[1.0, 2.0, 0.0], [3.0, 4.0, 5.0]])
    logits = torch.tensor([[1.5, 2.0, 99.0, 99.0], [3.0, 6.0, 5.0, 99.0]])
    assert float(stored_difference(logits, stored, torch.tensor([2, 3]))) == pytest.approx((0.25 + 4.0) / 5)


def test_dark_experience_adds_both_terms() -> None:
    spec = BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3)
    network = build(spec)
    pixels = made([1], 1)[0]
    stored_NC = np.array([[0.5, -1.0]], np.float32)
    experience = Experience(Album(tuple(pixels), np.array([1])), stored_NC, np.array([2]), 1)
    weight = torch.from_numpy(np.random.default_rng(0).standard_normal((3, network.feature_dim)).astype(np.float32))
    nothing = torch.zeros(4)
    step = Step(network, weight, torch.zeros(3), nothing, nothing, nothing, nothing, 7)
    said_C = (network(torch.from_numpy(np.stack(pixels))) @ weight.T)[0].detach().double()
    wanted = 0.3 * float(((said_C[:2] - torch.from_numpy(stored_NC[0])) ** 2).mean())
    wanted -= 0.5 * float(said_C.log_softmax(0)[1])
    found = ReplayPenalty(experience, 0.3, 0.5, "none")(step).detach()
    assert float(found) == pytest.approx(wanted, rel=1e-4)


def test_bias_correction_weighs_by_the_share_of_classes_that_the_task_does_not_bring() -> None:
    lineage = Lineage(Method(FullTuner(), memory=BiasCorrection(), scope="seen"))
    lineage.learn([0, 1, 2])
    version = lineage.version
    network = network_of(version, lineage.method)
    pictures, labels = made([3, 4], 3)
    block = lay_out(version, labels)
    images = Pictures(pictures, block.image_columns_N)
    start = TaskStart(network, version.unaligned, version, block, images, PLAN)
    kept = {**slot(version.kept, "memory"), "alpha_C": torch.tensor([1.0, 0.5, 1.0]), "beta_C": torch.ones(3)}
    penalty = BiasCorrection().begin(kept, start)
    assert isinstance(penalty, DistillationPenalty)
    assert (penalty.weight, penalty.loss_weight) == (pytest.approx(3 / 5), pytest.approx(2 / 5))
    pixels = torch.from_numpy(np.stack(pictures))
    plain_NC = version.unaligned.logits(network(pixels).detach().numpy())
    wanted_NC = plain_NC * np.array([1.0, 0.5, 1.0]) + 1.0
    np.testing.assert_allclose(penalty.teacher.logits(pixels).numpy(), wanted_NC, atol=1e-4)
    assert BiasCorrection().begin({}, start) is None


def test_dark_experience_keeps_a_reservoir_with_what_was_said() -> None:
    lineage = Lineage(Method(FullTuner(), memory=DarkExperience(capacity=25), scope="seen"))
    lineage.learn([0, 1, 2])
    first = Experience.from_tensors(slot(lineage.version.kept, "memory"))
    assert (len(first.album), first.seen, first.logits_NC.shape) == (25, 30, (25, 3))
    second = Experience.from_tensors(slot(lineage.learn([3, 4]).kept, "memory"))
    assert (len(second.album), second.seen, second.logits_NC.shape) == (25, 50, (25, 5))
    old = second.said_N == 3
    assert 0 < old.sum() < 25 and set(second.album.columns_N[~old]) <= {3, 4}
    assert not second.logits_NC[old, 3:].any() and second.logits_NC[~old].all()
    rows = {row.tobytes() for row in first.logits_NC}
    assert all(row[:3].tobytes() in rows for row in second.logits_NC[old])


def test_a_greedy_memory_is_all_that_is_learned_from() -> None:
    lineage = Lineage(Method(FullTuner(), memory=GreedyMemory(capacity=10), scope="seen", restarts=True))
    lineage.learn([0, 1, 2])
    lineage.learn([3, 4])
    assert np.bincount(kept_columns(lineage.version)).tolist() == [2] * 5
    lineage = Lineage(METHODS["replay_all"])
    lineage.learn([0, 1])
    lineage.learn([2, 3])
    assert np.bincount(kept_columns(lineage.version)).tolist() == [10] * 4


def test_held_out_rows_are_balanced_and_leave_something_to_train_on() -> None:
    columns_N = np.repeat([0, 1, 2, 7], [40, 25, 60, 1])
    rows_N = held_out_rows(columns_N, 0.1, np.random.default_rng(0))
    assert np.bincount(columns_N[rows_N], minlength=8).tolist() == [2, 2, 2, 0, 0, 0, 0, 0]
    few_N = np.repeat([0, 1], [2, 50])
    assert np.bincount(few_N[held_out_rows(few_N, 0.1, np.random.default_rng(0))]).tolist() == [1, 1]


def test_bias_is_taken_back() -> None:
    rng = np.random.default_rng(0)
    columns_N = np.repeat(np.arange(4), 500)
    honest_NC = rng.standard_normal((2_000, 4)) + 2.0 * np.eye(4)[columns_N]
    scale = 2.0  # log odds of the true class grow by this much for each unit
    honest_NC *= scale
    favoured_NC = honest_NC.copy()
    favoured_NC[:, 2:] = 1.5 * honest_NC[:, 2:] + 2.0
    alpha, beta = fitted_bias(favoured_NC.astype(np.float32), columns_N, np.array([2, 3]), 0.0)
    assert (alpha, beta) == (pytest.approx(1 / 1.5, abs=0.08), pytest.approx(-2 / 1.5, abs=0.15))


def test_a_correction_changes_its_classes_alone() -> None:
    rng = np.random.default_rng(0)
    head = Head(rng.standard_normal((3, 4)).astype(np.float32), rng.standard_normal(3).astype(np.float32))
    features_ND = rng.standard_normal((5, 4)).astype(np.float32)
    kept = {"alpha_C": torch.tensor([1.0, 0.5]), "beta_C": torch.tensor([0.0, -1.0])}
    corrected_NC = Correction.of(kept, 3).applied(head).logits(features_ND)
    wanted_NC = head.logits(features_ND)
    wanted_NC[:, 1] = 0.5 * wanted_NC[:, 1] - 1.0
    np.testing.assert_allclose(corrected_NC, wanted_NC, rtol=1e-5, atol=1e-6)


def test_bias_correction_serves_a_corrected_head_and_learns_on_from_the_uncorrected() -> None:
    lineage = Lineage(Method(FullTuner(), METHODS["bic"].aligner, memory=BiasCorrection(capacity=30), scope="seen"))
    first = lineage.learn([0, 1, 2])
    assert slot(first.kept, "memory")["alpha_C"].tolist() == [1.0] * 3
    second = lineage.learn([3, 4])
    kept = slot(second.kept, "memory")
    assert kept["alpha_C"][:3].tolist() == [1.0] * 3 and kept["alpha_C"][3] == kept["alpha_C"][4] != 1.0
    wanted = second.unaligned.weight_CD * kept["alpha_C"].numpy()[:, None]
    np.testing.assert_array_equal(second.aligned.weight_CD, wanted)
    assert np.bincount(kept_columns(second)).tolist() == [6] * 5


def test_a_task_on_a_standing_backbone_leaves_corrections_as_they_are_served() -> None:
    lineage = Lineage(Method(FullTuner(), METHODS["bic"].aligner, memory=BiasCorrection(capacity=30), scope="seen"))
    lineage.learn([0, 1, 2])
    base = lineage.learn([3, 4])
    pictures, labels = made([5, 6], 10)
    block, network = lay_out(base, labels), network_of(base, lineage.method)
    images = Pictures(pictures, positions(block, lineage.method))
    seen = Seen(features_of(network, images, PLAN))
    version = provisional(base, seen, block, Making(lineage.method, 1), task="t")
    kept = lineage.method.memory.finish(
        slot(base.kept, "memory"), standing_end(network, version, base, block, images, lineage.method, PLAN)
    )
    before = slot(base.kept, "memory")
    assert kept["alpha_C"].tolist() == [*before["alpha_C"].tolist(), 1.0, 1.0]
    assert kept["beta_C"].tolist() == [*before["beta_C"].tolist(), 0.0, 0.0]
    served = Correction.of(kept, 7).applied(version.unaligned)
    np.testing.assert_array_equal(version.aligned.weight_CD, served.weight_CD)
    np.testing.assert_array_equal(version.aligned.bias_C, served.bias_C)
    assert np.bincount(kept["columns_N"].numpy()).size == 7


@pytest.mark.parametrize(("before", "now"), [(10, 1), (1, 10)])
def test_nothing_is_corrected_where_one_side_has_no_held_out_image(before: int, now: int) -> None:
    lineage = Lineage(Method(FullTuner(), METHODS["bic"].aligner, memory=BiasCorrection(), scope="seen"))
    lineage.learn([0, 1, 2, 3], before)
    kept = slot(lineage.learn([4, 5], now).kept, "memory")
    assert kept["alpha_C"].tolist() == [1.0] * 6 and kept["beta_C"].tolist() == [0.0] * 6


@pytest.fixture(scope="module")
def forgetful() -> float:
    """Accuracy on the first task after a second one, trained over all classes seen without any memory."""
    return first_accuracy(Method(FullTuner(), scope="seen"))


def first_accuracy(method: Method) -> float:
    lineage = Lineage(method, plan=replace(PLAN, epochs=8, milestones=(7,)))
    lineage.learn([0, 1, 2])
    lineage.learn([3, 4])
    return lineage.accuracy([0, 1, 2])


@pytest.mark.parametrize("name", ["der++", "bic", "gdumb"])
def test_replay_forgets_less(name: str, forgetful: float) -> None:
    assert first_accuracy(METHODS[name]) >= forgetful + 0.2
