"""What the compositions are made of does what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.aligners import GaussianAligner, RandomProjectionAligner
from model.backbones.backbone import build
from model.backbones.spec import BackboneSpec
from model.heads.alignment import AlignmentPlan
from model.heads.spread_plan import SpreadPlan
from model.memories import BiasCorrection, DarkExperience, GreedyMemory
from model.method import Method
from model.methods import DEFAULT, DEFAULT_OF_TRANSFORMERS, METHODS, UnknownMethod, method_named, with_alignment
from model.regularisers import Consolidation, Distillation
from model.scores.confidence import SAMPLED_KNOWN_RATE, SAMPLES_ARE_EASIER
from model.statistics.drift import IDENTITY, RidgeDrift, RidgeMap
from model.statistics.shrinkage import DRIFT_CAUTION, FewImages
from model.training.averaging import EvenAveraging
from model.training.stage import SymmetricCrossEntropy
from model.training.tuning import TuningPlan
from model.tuners import FirstTaskTuner, FrozenTuner, FullTuner, HybridTuner, LoraTuner

SPEC = BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3)


def test_the_papers_method_is_the_slow_learner_with_alignment_and_nothing_else() -> None:
    slca = METHODS["slca"]
    assert slca.tuner == FullTuner()
    assert TuningPlan().backbone_lr == pytest.approx(0.01 * TuningPlan().head_lr)
    assert isinstance(slca.aligner, GaussianAligner)
    assert slca.aligner.plan.tau == 0.1 and slca.aligner.plan.samples_per_class == 256
    assert slca.drift is None and slca.averaging is None
    assert METHODS["sl"].aligner is None and METHODS["sl"].tuner == slca.tuner
    assert METHODS["seq_ft"].tuner == FullTuner(ratio=1.0)


def test_methods_that_slca_is_compared_with_have_the_settings_of_their_sources() -> None:
    """method.md 3 and 4."""
    assert METHODS["ewc"].regulariser == Consolidation(strength=1000.0, ceiling=1e-4, online_decay=None)
    assert METHODS["lwf"].regulariser == Distillation(weight=3.0, temperature=2.0)
    assert METHODS["der++"].memory == DarkExperience(alpha=0.3, beta=0.5, capacity=1000)
    assert METHODS["bic"].memory == BiasCorrection(capacity=1000, held_out=0.1, temperature=2.0)
    assert METHODS["gdumb"].memory == GreedyMemory(capacity=1000) and METHODS["gdumb"].restarts
    lora = METHODS["lora"].tuner
    assert isinstance(lora, LoraTuner) and (lora.rank, lora.scale) == (4, 0.8)
    assert METHODS["slca++"].tuner == HybridTuner(replace(lora, init="svd"))
    assert METHODS["ranpac"].aligner == RandomProjectionAligner(size=10_000)


def test_a_servers_defaults_have_the_numbers_that_were_chosen() -> None:
    """docs/protocols.md, decisions 0007, 0013, 0018, 0021 and 0026."""
    plan = AlignmentPlan(samples_in_all=102_400, few_images=FewImages(fewer_than=None, of_dimension=0.25))
    slower, spread = 0.5, SpreadPlan(part=0.4, of_dimension=0.5, directions=16)
    plain = Method(
        FullTuner(),
        GaussianAligner(plan, on_first_task=True, start="discriminant"),
        RidgeDrift(),
        views=frozenset({"middle"}),
    )
    assert method_named(DEFAULT) == plain
    assert method_named(DEFAULT_OF_TRANSFORMERS) == replace(
        METHODS["sl++"],
        aligner=replace(plain.aligner, spread=spread),
        drift=RidgeDrift(),
        views=frozenset({"middle"}),
        later_pace=slower,
    )
    assert METHODS["sl++"].objective == SymmetricCrossEntropy(1.0, 0.1)
    assert (SAMPLED_KNOWN_RATE, SAMPLES_ARE_EASIER, DRIFT_CAUTION) == (0.97, 2.0, 3.0)


def test_tuners_decide_what_moves() -> None:
    backbone = build(SPEC)
    FrozenTuner().begin(backbone, 1, 0)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    FullTuner().begin(backbone, 1, 0)
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_drift_is_learned_only_where_something_moved() -> None:
    features_ND = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    columns_N = np.repeat([0, 1, 2], 3)
    assert RidgeDrift().fit(features_ND, features_ND.copy(), columns_N) is IDENTITY
    moved = RidgeDrift(0.5).fit(features_ND, 2 * features_ND, columns_N)
    assert isinstance(moved, RidgeMap)
    np.testing.assert_array_equal(moved.matrix_DD, RidgeMap.fit(features_ND, 2 * features_ND, 0.5).matrix_DD)


def test_averaged_weights_lie_between() -> None:
    before = {"w": torch.tensor([0.0, 4.0]), "steps": torch.tensor(3)}
    tuned = {"w": torch.tensor([1.0, 0.0]), "steps": torch.tensor(8)}
    mixed = EvenAveraging(0.25).mixed(before, tuned)
    assert mixed["w"].tolist() == [0.25, 3.0] and mixed["steps"].item() == 8


def test_modifiers_add_to_any_method() -> None:
    assert method_named("slca+drift") == Method(FullTuner(), GaussianAligner(), RidgeDrift())
    assert method_named("sl+ca") == METHODS["slca"]
    assert method_named("sl+lda+averaging").aligner == METHODS["sl+lda"].aligner
    averaged = method_named("slca+averaging")
    assert averaged.averaging == EvenAveraging(0.5) and averaged.tuner == FullTuner(scale=3.0)
    assert method_named("ranpac+averaging").tuner == FirstTaskTuner(FullTuner(scale=3.0))
    for name in ("", "slca+", "best", "drift", "slca+best"):
        with pytest.raises(UnknownMethod, match="slca"):
            method_named(name)


def test_an_aligner_that_is_named_late_takes_nothing_from_what_others_change_of_it() -> None:
    assert method_named("sl+spread+warm") == method_named("sl+warm+spread") != method_named("sl+warm")


@pytest.mark.parametrize("name", ["ranpac", "ranpac_frozen", "sl+ranpac"])
def test_the_number_of_projections_is_of_no_meaning_behind_an_alignment(name: str) -> None:
    aligned = method_named(f"{name}+ca")
    assert isinstance(aligned.aligner, GaussianAligner)
    assert method_named(f"{name}+m2000+ca") == method_named(f"{name}+ca+m2000") == aligned
    assert with_alignment(f"{name}+m2000") == with_alignment(name) == f"{name}+ca"
    assert with_alignment(f"{name}+m2000+drift") == f"{name}+drift+ca"
    with pytest.raises(UnknownMethod, match="sub-spaces"):
        with_alignment("ease+warm")
    with pytest.raises(UnknownMethod, match="random projections"):
        method_named("slca+m2000+ca")


def test_views_and_pace_are_part_of_a_name() -> None:
    assert method_named("slca+turned+views").views == {"middle", "turned"}
    slower = method_named("slca+slower")
    assert [slower.pace(task) for task in (1, 2, 9)] == [1.0, 0.5, 0.5]
    assert [METHODS["slca"].pace(task) for task in (1, 2)] == [1.0, 1.0]


def test_a_server_is_told_why_it_cannot_offer_a_method() -> None:
    assert METHODS["slca"].refusals() == []
    assert METHODS["joint"].refusals() == ["it needs all tasks at once"]
    for name in ("der++", "bic"):
        assert METHODS[name].refusals() == ["it keeps images of earlier tasks"]
        assert METHODS[name].refusals(allow_images=True) == []
    assert METHODS["gdumb"].refusals(allow_images=True) == ["it begins each task from the pre-trained weights"]
    assert METHODS["ranpac"].refusals() == ["its classifier is more than its head"]
    assert METHODS["ewc"].refusals() == METHODS["lwf"].refusals() == METHODS["fsa+lda"].refusals() == []


def test_fewer_projections_are_for_methods_that_have_some() -> None:
    assert METHODS["ranpac"].aligner == RandomProjectionAligner(10_000)
    assert method_named("ranpac+m2000").aligner == RandomProjectionAligner(2_000)
    with pytest.raises(UnknownMethod, match="random projections"):
        method_named("slca+m2000")
