"""What the compositions are made of does what it says."""

import numpy as np
import pytest
import torch

from model.backbone import build
from model.drift import IDENTITY, RidgeMap
from model.methods import METHODS, Averaging, FrozenTuner, FullTuner, RidgeDrift
from model.spec import BackboneSpec

SPEC = BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3)


def test_the_papers_method_is_the_slow_learner_with_alignment_and_nothing_else() -> None:
    slca = METHODS["slca"]
    assert slca.tuner.ratio == pytest.approx(0.01)
    assert slca.aligner is not None and slca.aligner.tau == 0.1 and slca.aligner.samples_per_class == 256
    assert slca.drift is None and slca.averaging is None
    assert METHODS["sl"].aligner is None and METHODS["sl"].tuner == slca.tuner
    assert METHODS["seq_ft"].tuner.ratio == 1


def test_tuners_decide_what_moves() -> None:
    backbone = build(SPEC)
    FrozenTuner().prepare(backbone)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    FullTuner().prepare(backbone)
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_drift_is_learned_only_where_something_moved() -> None:
    features_ND = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    assert RidgeDrift().fit(features_ND, features_ND.copy()) is IDENTITY
    moved = RidgeDrift(0.5).fit(features_ND, 2 * features_ND)
    assert isinstance(moved, RidgeMap)
    np.testing.assert_array_equal(moved.matrix_DD, RidgeMap.fit(features_ND, 2 * features_ND, 0.5).matrix_DD)


def test_averaged_weights_lie_between() -> None:
    before = {"w": torch.tensor([0.0, 4.0]), "steps": torch.tensor(3)}
    tuned = {"w": torch.tensor([1.0, 0.0]), "steps": torch.tensor(8)}
    mixed = Averaging(0.25).mixed(before, tuned)
    assert mixed["w"].tolist() == [0.25, 3.0] and mixed["steps"].item() == 8
