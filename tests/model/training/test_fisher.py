"""Fisher's information is of the classes that the task's loss tells apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.block import lay_out
from model.method import Method
from model.regularisers import Distillation
from model.training.averaging import FisherAveraging
from model.tuners import FullTuner
from tests.model.check_method import PLAN, Lineage
from tests.model.pictures import made

NAME = "network.blocks.0.attn.qkv.weight"
TUNED_ALONE = FisherAveraging(1.0, ceiling=1e9)
"""All of the tuned weights and nothing of those before, so that the version has the weights at which gradients were."""

SCOPES = {
    "block": Method(FullTuner(), averaging=TUNED_ALONE),
    "rows": Method(FullTuner(), regulariser=Distillation(), averaging=TUNED_ALONE, scope="rows"),
    "seen": Method(FullTuner(), averaging=TUNED_ALONE, scope="seen"),
}


@pytest.mark.parametrize("scope", SCOPES)
def test_the_loss_is_over_the_tasks_own_classes_unless_the_method_tells_all_apart(scope: str) -> None:
    plan = replace(PLAN, augmentation="none")
    lineage = Lineage(SCOPES[scope], plan)
    first = lineage.learn([0, 1, 2])
    second = lineage.learn([1, 3, 4])
    assert lineage.last is not None
    network = lineage.last.network
    pictures, labels = made([1, 3, 4], lineage.each, seed=3)
    block = lay_out(first, labels)
    told_apart = block.columns_B if scope != "seen" else np.arange(5)
    head = second.unaligned.rows(told_apart)
    weight_CD, bias_C = torch.from_numpy(head.weight_CD), torch.from_numpy(head.bias_C)
    column_N = torch.from_numpy(np.searchsorted(told_apart, block.image_columns_N))
    order_N = np.random.default_rng([plan.seed + 3, plan.epochs]).permutation(len(labels))
    squares = []
    for batch_B in np.split(order_N, range(plan.batch_size, len(order_N), plan.batch_size)):
        network.zero_grad()
        logits_BC = network(torch.from_numpy(np.stack([pictures[one] for one in batch_B]))) @ weight_CD.T + bias_C
        torch.nn.functional.cross_entropy(logits_BC, column_N[batch_B]).backward()
        squares.append(network.get_parameter(NAME).grad.clone() ** 2)
    wanted = torch.stack(squares).mean(dim=0)
    torch.testing.assert_close(second.kept[f"averaging/{NAME}"], wanted, rtol=1e-3, atol=1e-6 * float(wanted.max()))
