"""First-session adaptation: the backbone moves in the first task alone."""

import torch

from model.method import Method
from model.methods import METHODS
from model.tuners import FirstTaskTuner, FullTuner
from tests.model.check_method import Lineage


def test_the_backbone_moves_in_the_first_task_and_never_again() -> None:
    lineage = Lineage(Method(FirstTaskTuner(FullTuner())))
    before = dict(lineage.version.backbone)
    first = lineage.learn([0, 1]).backbone
    assert any(not torch.equal(before[name], first[name]) for name in before)
    second = lineage.learn([2, 3]).backbone
    assert all(torch.equal(second[name], first[name]) for name in first)
    assert METHODS["ranpac"].tuner == FirstTaskTuner(FullTuner())
