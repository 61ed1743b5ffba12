"""`python -m benchmarks.speed.alignment`: stage 2 beside the reference's way, at equal accuracy, in one run.

The reference draws each epoch from one `MultivariateNormal` per class, made of its D×D covariance, and trains with
autograd and `torch.optim.SGD`. Features are made: class means and within-class noise share a decaying spectrum, so that
classes overlap as real ones do. Both ways start from the same un-aligned head, one block of which is spoiled.
"""

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.speed.figures import Figure
from model.heads.alignment import AlignmentPlan, align, decayed_scale
from model.heads.closed_form import nearest_mean
from model.heads.head import Head
from model.method import AlignmentTask
from model.methods import DEFAULT_ALIGNER
from model.statistics.class_statistics import ClassStatistics

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

CENTRE_SPREAD = 0.2
"""Deviation of class means over that within a class, in every direction."""

FIRST_STEP = 0.7
"""lr·‖x‖²/(n̄²·τ) of the slow learner's heads, as measured on Split CIFAR-100."""

NAMES = {"reference": "the reference's way", "ours": "ours", "default": "the server's default"}
"""`ours` is SLCA's stage 2; the default begins from the discriminant, classes borrow of the pooled covariance, and the
head has their spread beside its rows.
"""

AIMS = {100: "≥ 30", 200: "≥ 30", 1000: "≥ 20"}


@dataclass(frozen=True, eq=False)
class World:
    """A problem of `classes` classes in `blocks` tasks: statistics, an un-aligned head, and test features."""

    statistics: ClassStatistics
    head: Head
    blocks_C: Ints
    test_ND: Floats
    test_N: Ints


def make_world(classes: int, dimension: int, images: int, blocks: int, seed: int = 0) -> World:
    """Made features, 20 test images a class."""
    rng = np.random.default_rng(seed)
    spectrum_D = (np.arange(1, dimension + 1) ** -0.25).astype(np.float32)
    centre_CD = rng.standard_normal((classes, dimension), dtype=np.float32) * spectrum_D * CENTRE_SPREAD

    def drawn(count: int) -> tuple[Floats, Ints]:
        columns_N = np.repeat(np.arange(classes), count)
        noise_ND = rng.standard_normal((len(columns_N), dimension), dtype=np.float32) * spectrum_D
        return centre_CD[columns_N] + noise_ND, columns_N

    statistics = ClassStatistics.from_features(*drawn(images), classes)
    blocks_C = np.repeat(np.arange(1, blocks + 1), classes // blocks)
    return World(statistics, _spoiled(nearest_mean(statistics), statistics, blocks_C), blocks_C, *drawn(20))


def _spoiled(head: Head, statistics: ClassStatistics, blocks_C: Ints) -> Head:
    """Logits as large beside the features as the slow learner leaves them, the last block far ahead of the others."""
    energy = float((statistics.mean_CD**2).sum(axis=1).mean()) + float(np.trace(statistics.pooled_covariance()))
    logits_CC = head.logits(statistics.mean_CD)
    norm = np.mean([np.linalg.norm(logits_CC[:, blocks_C == block], axis=1).mean() for block in np.unique(blocks_C)])
    plan = AlignmentPlan()
    factor = np.sqrt(plan.lr * energy / (FIRST_STEP * plan.tau)) / norm
    ahead_C = np.where(blocks_C == blocks_C.max(), factor * np.diag(logits_CC).mean() / 4, 0.0)
    return Head(head.weight_CD * factor, ahead_C)


def reference_way(world: World, covariances_CDD: Tensor, plan: AlignmentPlan, seed: int) -> Head:
    """Stage 2 as method.md 2.3 tells of the published code, where the covariances lie."""
    torch.manual_seed(seed)
    device = covariances_CDD.device
    classes, dimension = world.head.weight_CD.shape
    layer = nn.Linear(dimension, classes, device=device)
    layer.load_state_dict({"weight": torch.tensor(world.head.weight_CD), "bias": torch.tensor(world.head.bias_C)})
    optimiser = torch.optim.SGD(layer.parameters(), plan.lr, plan.momentum, weight_decay=plan.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, plan.epochs)
    mean_CD = torch.tensor(world.statistics.mean_CD) * torch.tensor(
        decayed_scale(world.blocks_C, int(world.blocks_C.max())), dtype=torch.float32
    ).unsqueeze(1)
    mean_CD = mean_CD.to(device)
    sizes = np.bincount(world.blocks_C)[1:].tolist()
    for _ in range(plan.epochs):
        features_ND = torch.cat([_drawn(mean_CD[c], covariances_CDD[c], plan) for c in range(classes)])
        columns_N = torch.arange(classes, device=device).repeat_interleave(plan.samples_per_class)
        order_N = torch.randperm(len(columns_N), device=device)
        for start in range(0, len(order_N), plan.batch):
            rows_B = order_N[start : start + plan.batch]
            optimiser.zero_grad()
            _loss(layer(features_ND[rows_B]), columns_N[rows_B], sizes, plan.tau).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        schedule.step()
    return Head(layer.weight.detach().cpu().numpy(), layer.bias.detach().cpu().numpy())


def full_covariances(statistics: ClassStatistics, plan: AlignmentPlan) -> Tensor:
    """Every class's D×D covariance with the ridge, float32, as the reference stores them."""
    ridge_DD = plan.ridge * np.eye(statistics.dimension)
    return torch.stack(
        [torch.tensor(statistics.covariance(c) + ridge_DD, dtype=torch.float32) for c in range(statistics.class_count)]
    )


def _drawn(mean_D: Tensor, covariance_DD: Tensor, plan: AlignmentPlan) -> Tensor:
    gaussian = torch.distributions.MultivariateNormal(mean_D, covariance_DD)
    drawn: Tensor = gaussian.sample((plan.samples_per_class,))
    return drawn


def _loss(logits_BC: Tensor, columns_B: Tensor, sizes: list[int], tau: float) -> Tensor:
    norms = [block.norm(dim=1) + 1e-7 for block in torch.split(logits_BC, sizes, dim=1)]
    return nn.functional.cross_entropy(logits_BC / (torch.stack(norms).mean(dim=0).unsqueeze(1) * tau), columns_B)


@dataclass(frozen=True)
class Turn:
    """One alignment: wall-clock and processor seconds (all threads), and the test accuracy (0–1) that it reached."""

    wall_s: float
    processor_s: float
    accuracy: float


def compare(world: World, plan: AlignmentPlan, rounds: int, device: str) -> dict[str, list[Turn]]:
    """Both ways, turn by turn, after ours has run once to warm up, and on a GPU the reference's."""
    covariances_CDD = full_covariances(world.statistics, plan).to(device)
    current = int(world.blocks_C.max())
    ways: dict[str, Callable[[int], Head]] = {
        "reference": lambda seed: reference_way(world, covariances_CDD, plan, seed),
        "ours": lambda seed: align(
            world.head, world.statistics, world.blocks_C, current, plan, seed=seed, device=device
        ),
        "default": lambda seed: DEFAULT_ALIGNER.align(task_of(world, current, seed, device)).head,
    }
    measured: dict[str, list[Turn]] = {name: [] for name in ways}
    for name in ways if device != "cpu" else ("ours", "default"):
        ways[name](0)
    for seed in range(rounds):
        for name, way in ways.items():
            wall_s, processor_s = time.perf_counter(), time.process_time()
            head = way(seed)
            spent = time.perf_counter() - wall_s, time.process_time() - processor_s
            measured[name].append(Turn(*spent, _accuracy(head, world)))
    return measured


def task_of(world: World, current: int, seed: int, device: str) -> AlignmentTask:
    """What the default's stage 2 reads; images it needs none."""
    nothing_ND, nothing_N = world.statistics.mean_CD[:0], np.zeros(0, np.int64)
    return AlignmentTask(world.head, world.statistics, world.blocks_C, current, nothing_ND, nothing_N, {}, seed, device)


def _accuracy(head: Head, world: World) -> float:
    return float((head.logits(world.test_ND).argmax(axis=1) == world.test_N).mean())


def figures(classes: int, world: World, measured: dict[str, list[Turn]]) -> list[Figure]:
    """Times, accuracies, their ratio, and what is stored beside full covariances."""
    rows = []
    for name, turns in measured.items():
        told = f"{classes} classes, {NAMES[name]}"
        rows.append(Figure(f"{told}: time", "s", tuple(turn.wall_s for turn in turns)))
        rows.append(Figure(f"{told}: processor time", "s", tuple(turn.processor_s for turn in turns)))
        rows.append(Figure(f"{told}: accuracy", "%", tuple(100 * turn.accuracy for turn in turns)))
    for name in ("ours", "default"):
        pairs = list(zip(measured["reference"], measured[name], strict=True))
        wall = tuple(slow.wall_s / fast.wall_s for slow, fast in pairs)
        processor = tuple(slow.processor_s / fast.processor_s for slow, fast in pairs)
        told = f"{classes} classes, {NAMES[name]}"
        rows.append(Figure(f"{told}: how many times faster", "×", wall, AIMS.get(classes, "")))
        rows.append(Figure(f"{told}: how many times less processor time", "×", processor))
    start = 100 * _accuracy(world.head, world)
    rows.append(Figure(f"{classes} classes, the un-aligned head: accuracy", "%", (start,)))
    stored = sum(factor_RD.nbytes for factor_RD in world.statistics.factors) / classes
    full = world.statistics.dimension**2 * 4
    rows.append(Figure(f"{classes} classes: stored factors beside full covariances", "× smaller", (full / stored,)))
    return rows


@click.command()
@click.option("--classes", type=int, multiple=True, default=(100,), show_default=True)
@click.option("--dimension", default=768, show_default=True)
@click.option("--images", default=50, show_default=True, help="Images a class that the statistics are made of.")
@click.option("--blocks", default=10, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/speed-alignment"))
def main(
    classes: tuple[int, ...],
    dimension: int,
    images: int,
    blocks: int,
    rounds: int,
    threads: int,
    device: str,
    out: Path,
) -> None:
    """Alignment beside the reference's way."""
    torch.set_num_threads(threads)
    plan, rows = AlignmentPlan(), []
    for count in classes:
        world = make_world(count, dimension, images, blocks)
        rows += figures(count, world, compare(world, plan, rounds, device))
    table = "\n".join(["| figure | median | spread | aim |", "| --- | --- | --- | --- |", *(one.row for one in rows)])
    command = shlex.join(["python", "-m", "benchmarks.speed.alignment", *sys.argv[1:]])
    where = "" if device == "cpu" else f"{torch.cuda.get_device_name(device)}, "
    what = (
        f"{where}{os.cpu_count()} cores, {threads} threads, D = {dimension}, {images} images a class, {blocks} blocks."
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".md").write_text(f"# Alignment\n\n    {command}\n\n{what}\n\n{table}\n")
    document = {
        "command": command,
        "what": what,
        "machine": platform.machine(),
        "packages": {name: version(name) for name in ("torch", "numpy")},
        "figures": [{"name": one.name, "unit": one.unit, "values": one.values} for one in rows],
    }
    out.with_suffix(".json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    click.echo(table)


if __name__ == "__main__":
    main()
