"""Stage 1 of a method is made of what the method says."""

from dataclasses import replace

import torch
from torch import Tensor

from model.method import Method
from model.methods import METHODS
from model.tuners import FullTuner
from tests.model import check_method
from tests.model.check_method import Lineage


class Silence:
    """A loss that says nothing."""

    def __call__(self, logits_BC: Tensor, columns_B: Tensor) -> Tensor:
        return 0 * logits_BC.sum()


def test_it_learns_under_the_methods_own_loss() -> None:
    told, untold = (Lineage(Method(FullTuner(), objective=one)) for one in (Method(FullTuner()).objective, Silence()))
    far, near = (moved(lineage) for lineage in (told, untold))
    # Weights decay whatever the loss says.
    assert far > 10 * near


def test_slca_plus_plus_learns_under_symmetric_cross_entropy() -> None:
    method = check_method.tested("sl++")
    symmetric, plain = Lineage(method), Lineage(replace(method, objective=METHODS["sl"].objective))
    assert not torch.equal(head_of(symmetric), head_of(plain))


def moved(lineage: Lineage) -> float:
    """How far the weights go in the first task, as one length."""
    before, after = lineage.version.backbone, lineage.learn([0, 1]).backbone
    return float(sum((after[name] - before[name]).square().sum() for name in before) ** 0.5)


def head_of(lineage: Lineage) -> Tensor:
    """Its un-aligned rows after a first task."""
    return torch.from_numpy(lineage.learn([0, 1]).unaligned.weight_CD)
