"""EWC against its formula restated, and what it does to the weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.backbones.backbone import PixelBackbone, build
from model.backbones.spec import BackboneSpec
from model.block import lay_out
from model.heads.head import Head
from model.method import Method, TaskEnd, TaskStart
from model.regularisers import Consolidation
from model.regularisers.consolidation import ElasticPenalty
from model.snapshot import Snapshot
from model.training.stage import Step
from model.training.tuning import TuningPlan
from model.tuners import FullTuner
from tests.model.check_method import PLAN as LESSON
from tests.model.check_method import Lineage
from tests.model.pictures import Pictures, made

SPEC = BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3)
PLAN = TuningPlan(epochs=1, batch_size=6, micro_batch=3, augmentation="none", threads=1)
NAME = "network.blocks.0.attn.qkv.weight"


@pytest.fixture(scope="module")
def network() -> PixelBackbone:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(SPEC)


def ended(network: PixelBackbone, classes: list[int]) -> TaskEnd:
    """The end of a first task on which nothing was trained."""
    pictures, labels = made(classes, 4)
    root = Snapshot.root(SPEC, network.state(), network.feature_dim, "ewc")
    block = lay_out(root, labels)
    weight_CD = np.random.default_rng(0).standard_normal((len(classes), network.feature_dim))
    head = Head(weight_CD.astype(np.float32), np.zeros(len(classes), np.float32))
    images = Pictures(pictures, block.image_positions_N)
    return TaskEnd(network, head, images, TaskStart(network, head, root, block, images, PLAN))


def restated_importance(end: TaskEnd) -> torch.Tensor:
    """Mean over the epoch's batches of the squared gradient of the batch's mean loss, for one weight."""
    plan = end.start.plan
    order_N = np.random.default_rng([plan.seed, plan.epochs]).permutation(len(end.images))
    squares = []
    for batch_B in np.split(order_N, range(plan.batch_size, len(order_N), plan.batch_size)):
        end.network.zero_grad()
        pixels = torch.from_numpy(np.stack([end.images.pixels(int(one)) for one in batch_B]))
        logits = end.network(pixels) @ torch.from_numpy(end.head.weight_CD).T + torch.from_numpy(end.head.bias_C)
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(end.images.columns_N[batch_B])).backward()
        squares.append(end.network.get_parameter(NAME).grad.clone() ** 2)
    return torch.stack(squares).mean(dim=0)


def test_importance_is_the_mean_of_squared_batch_gradients(network: PixelBackbone) -> None:
    end = ended(network, [0, 1, 2])
    found = Consolidation(ceiling=1e9).finish({}, end)[NAME]
    wanted = restated_importance(end)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6 * float(wanted.max()))
    ceiling = float(wanted.median())
    assert float(Consolidation(ceiling=ceiling).finish({}, end)[NAME].max()) == pytest.approx(ceiling)


def test_importance_of_a_first_task_is_its_own_and_online_is_summed(network: PixelBackbone) -> None:
    end = ended(network, [0, 1, 2])
    new = Consolidation().finish({}, end)[NAME]
    before = {NAME: torch.full_like(new, 0.5)}
    assert torch.equal(Consolidation().finish(before, end)[NAME], new), "nothing was known before: C_old is 0"
    online = Consolidation(online_decay=0.9).finish(before, end)[NAME]
    torch.testing.assert_close(online, 0.45 + new)


def test_importance_stays_where_a_task_has_no_loss(network: PixelBackbone) -> None:
    before = {NAME: torch.ones(3)}
    assert Consolidation().finish(before, ended(network, [4])) == before


def test_the_penalty_is_half_lambda_times_importance_times_squared_distance(network: PixelBackbone) -> None:
    moved = build(SPEC)
    moved.load(network.state())
    end = ended(network, [0, 1])
    importance = {
        name: torch.rand(p.shape, generator=torch.Generator().manual_seed(1)) for name, p in moved.named_parameters()
    }
    penalty = Consolidation(strength=10.0).begin(importance, end.start)
    online = Consolidation(strength=10.0, online_decay=1.0).begin(importance, end.start)
    assert isinstance(penalty, ElasticPenalty) and isinstance(online, ElasticPenalty)
    wanted = 0.0
    with torch.no_grad():
        for number, (name, parameter) in enumerate(moved.named_parameters()):
            parameter += 0.001 * (number + 1)
            wanted += 10.0 / 2 * float(importance[name].double().sum()) * (0.001 * (number + 1)) ** 2
    nothing = torch.zeros(1)
    step = Step(moved, nothing, nothing, nothing, nothing, nothing, nothing, 0)
    assert float(penalty(step).detach()) == pytest.approx(wanted, rel=1e-3)
    assert float(online(step).detach()) == pytest.approx(2 * wanted, rel=1e-3)
    assert Consolidation().begin({}, end.start) is None


@pytest.mark.parametrize(
    ("earlier", "classes", "share"),
    [
        ([0, 1, 2], [3, 4], 3 / 5),
        ([0, 1, 2], [2, 3, 0, 4, 5], 3 / 8),
        ([0, 1, 2], [2, 0, 1], 1 / 2),
        ([5], [0, 1, 2], 0.0),
    ],
)
def test_importance_is_blended_by_counts_of_classes(earlier: list[int], classes: list[int], share: float) -> None:
    """F ← (C_old/C)·F + (C_new/C)·F_new; classes that come again are among the new ones, and the first F is whole."""
    plan = replace(LESSON, augmentation="none")
    lineage = Lineage(Method(FullTuner(), regulariser=Consolidation(ceiling=1e9)), plan)
    first = lineage.learn(earlier)
    second = lineage.learn(classes)
    pictures, labels = made(classes, lineage.each, seed=len(earlier))
    block = lay_out(first, labels)
    images = Pictures(pictures, block.image_positions_N)
    assert lineage.last is not None
    network, head = lineage.last.network, second.unaligned.rows(block.columns_B)
    start = TaskStart(network, head, first, block, images, replace(plan, seed=plan.seed + len(earlier)))
    new = restated_importance(TaskEnd(network, head, images, start))
    before = first.kept.get(f"regulariser/{NAME}", torch.zeros_like(new))
    wanted = share * before + (1 - share) * new
    torch.testing.assert_close(second.kept[f"regulariser/{NAME}"], wanted, rtol=1e-3, atol=1e-6 * float(wanted.max()))


def test_importance_holds_the_weights_of_a_second_task() -> None:
    distances = {}
    for strength in (0.0, 1e5):
        lineage = Lineage(Method(FullTuner(), regulariser=Consolidation(strength=strength, ceiling=1e-2)))
        first = lineage.learn([0, 1, 2])
        second = lineage.learn([3, 4])
        distances[strength] = sum(
            float((first.kept[f"regulariser/{name}"] * (second.backbone[name] - first.backbone[name]) ** 2).sum())
            for name in first.backbone
            if f"regulariser/{name}" in first.kept
        )
    assert distances[1e5] < 0.5 * distances[0.0]
