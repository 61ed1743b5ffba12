"""How much a task's loss depends on each weight: the diagonal of Fisher's information, estimated from gradients."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.backbones.backbone import autocast
from model.method import TaskEnd
from model.pixels.augmentation import training_view
from model.training.stage import Stage


def squared_gradients(end: TaskEnd, ceiling: float) -> dict[str, Tensor]:
    """Mean of the squared gradients of whole batches at the network's present weights, at most `ceiling`, by name.

    Of what requires gradients, on the CPU, under the cross-entropy over the classes that the task's objective tells
    apart; nothing where nothing moves.
    """
    parameters = {name: p for name, p in end.network.named_parameters() if p.requires_grad}
    squares = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    batches = list(_batches(end)) if parameters else []
    for batch_B in batches:
        for name, gradient in _gradients(end, batch_B, parameters).items():
            squares[name] += gradient.square()
    return {name: (square / len(batches)).clamp(max=ceiling).cpu() for name, square in squares.items()}


def _batches(end: TaskEnd) -> Iterator[NDArray[np.int64]]:
    """One more epoch's batches, after those of the plan."""
    plan = end.start.plan
    order_N = np.random.default_rng([plan.seed, plan.epochs]).permutation(len(end.images))
    for start in range(0, len(order_N), plan.batch_size):
        yield order_N[start : start + plan.batch_size]


def _gradients(end: TaskEnd, batch_B: NDArray[np.int64], parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Of the mean cross-entropy of one batch, micro-batch by micro-batch."""
    plan, network = end.start.plan, end.network
    weight_CD = torch.tensor(end.head.weight_CD, device=network.device)
    bias_C = torch.tensor(end.head.bias_C, device=network.device)
    stage = Stage((), block_B=end.start.told_apart_B)
    total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for start in range(0, len(batch_B), plan.micro_batch):
        part_B = batch_B[start : start + plan.micro_batch]
        pixels_BHWC = torch.from_numpy(np.stack([_view(end, int(index)) for index in part_B])).to(network.device)
        columns_B = torch.from_numpy(end.images.columns_N[part_B]).to(network.device)
        with autocast(network, plan.precision):
            logits_BC = nn.functional.linear(network(pixels_BHWC), weight_CD, bias_C)
        loss = stage.loss(logits_BC, columns_B) / len(batch_B)
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, found, strict=True):
            total[name] += 0 if gradient is None else gradient
    return total


def _view(end: TaskEnd, index: int) -> NDArray[np.uint8]:
    plan = end.start.plan
    rng = np.random.default_rng([plan.seed, plan.epochs, index])
    return training_view(end.images.pixels(index), end.network.spec, rng, plan.augmentation)
