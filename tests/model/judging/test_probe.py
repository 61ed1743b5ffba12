"""The joint linear probe against the same training by torch's own optimiser, and what it finds."""

import numpy as np
import pytest
import torch

from model.judging.probe import ProbePlan, linear_probe


def made_features(classes: int, each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    columns_N = np.repeat(np.arange(classes), each)
    centres = np.random.default_rng(5).standard_normal((classes, 8)) * 3
    noise = np.random.default_rng(seed).standard_normal((len(columns_N), 8))
    return (centres[columns_N] + noise).astype(np.float32), columns_N


def test_it_is_sgd_on_the_cross_entropy() -> None:
    features_ND, columns_N = made_features(3, 20, 0)
    plan = ProbePlan(epochs=3, batch=16, lr=0.05)
    layer = torch.nn.Linear(8, 3)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(4)
    for _ in range(3):
        for rows in torch.randperm(60, generator=generator).split(16):
            optimiser.zero_grad()
            logits = layer(torch.from_numpy(features_ND)[rows])
            torch.nn.functional.cross_entropy(logits, torch.from_numpy(columns_N)[rows]).backward()
            optimiser.step()
    head = linear_probe(features_ND, columns_N, 3, seed=4, plan=plan)
    np.testing.assert_allclose(head.weight_CD, layer.weight.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(head.bias_C, layer.bias.detach().numpy(), atol=1e-5)


def test_it_tells_apart_what_a_line_can_and_is_the_same_each_time() -> None:
    features_ND, columns_N = made_features(5, 50, 0)
    head = linear_probe(features_ND, columns_N, 5, seed=1)
    test_ND, test_N = made_features(5, 50, 1)
    assert (head.logits(test_ND).argmax(axis=1) == test_N).mean() > 0.95
    assert linear_probe(features_ND, columns_N, 5, seed=1).weight_CD.tobytes() == head.weight_CD.tobytes()


def test_it_needs_as_many_columns_as_features() -> None:
    with pytest.raises(ValueError, match="0 features"):
        linear_probe(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), 2, seed=0)
    with pytest.raises(ValueError, match="2 features and 1 columns"):
        linear_probe(np.zeros((2, 4), np.float32), np.zeros(1, np.int64), 2, seed=0)
