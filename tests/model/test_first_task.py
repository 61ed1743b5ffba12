"""What the first task is: adaptation to it alone, and its own rates."""

import pytest
import torch

from model.method import Method
from model.methods import METHODS
from model.snapshot import Snapshot
from model.tuners import FirstTaskTuner, FullTuner
from tests.model import check_method
from tests.model.check_method import Lineage


def test_the_backbone_moves_in_the_first_task_and_never_again() -> None:
    lineage = Lineage(Method(FirstTaskTuner(FullTuner())))
    before = dict(lineage.version.backbone)
    first = lineage.learn([0, 1]).backbone
    assert any(not torch.equal(before[name], first[name]) for name in before)
    second = lineage.learn([2, 3]).backbone
    assert all(torch.equal(second[name], first[name]) for name in first)
    assert METHODS["ranpac"].tuner == FirstTaskTuner(FullTuner())


def moved(before: Snapshot, after: Snapshot) -> float:
    """How far all weights went, as one length."""
    return float(sum((after.backbone[name] - before.backbone[name]).square().sum() for name in before.backbone) ** 0.5)


@pytest.mark.parametrize("name", ["fsa+ncm", "slca+++slower+drift+warm+views", "slca+slower", "lora+slower+ca"])
def test_a_task_that_tunes_nothing_is_no_first_task(name: str) -> None:
    late, early = Lineage(check_method.tested(name)), Lineage(check_method.tested(name))
    alone = late.learn([8])
    assert moved(late.root, alone) == 0 and alone.next_tuning == 1
    first = late.learn([0, 1, 2])
    usual = early.learn([0, 1, 2])
    assert moved(alone, first) > 0.7 * moved(early.root, usual)
    assert first.next_tuning == usual.next_tuning == 2
    assert moved(first, late.learn([3, 4])) < 0.7 * moved(alone, first)


def test_versions_from_before_tunings_were_counted_go_on_as_they_did() -> None:
    lineage = Lineage(check_method.tested("slca"))
    for classes in ([8], [0, 1], [2, 3]):
        lineage.learn(classes)
    description = lineage.version.describe()
    assert description.pop("tuned_tasks") == 2
    assert Snapshot.from_parts(lineage.version.to_parts(), description).next_tuning == 4


def test_a_method_that_begins_anew_has_a_first_task_each_time() -> None:
    lineage = Lineage(check_method.tested("gdumb+slower"))
    lineage.learn([0, 1])
    far = moved(lineage.root, lineage.version)
    assert moved(lineage.root, lineage.learn([2, 3])) > 0.7 * far
