"""`python -m benchmarks.speed.alignment_memory`: what stage 2 holds in memory beside the reference's way.

Each way runs in a process of its own, for one epoch (the others hold no more): the most that is resident while it runs,
over what is resident before. The reference's way holds every class's covariance and a fresh sample of each; these are
part of it.
"""

import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import psutil
import torch

from benchmarks.speed.alignment import NAMES, World, full_covariances, make_world, reference_way, task_of
from benchmarks.speed.figures import Figure
from model.heads.alignment import AlignmentPlan, align
from model.methods import DEFAULT_ALIGNER

MIB = 2**20
SAMPLE_S = 0.002


def way_of(name: str, world: World) -> Callable[[], object]:
    """One epoch of a way, all that it needs beside the statistics included."""
    plan, current = AlignmentPlan(epochs=1), int(world.blocks_C.max())
    default = replace(DEFAULT_ALIGNER, plan=replace(DEFAULT_ALIGNER.plan, epochs=1))
    return {
        "reference": lambda: reference_way(world, full_covariances(world.statistics, plan), plan, 0),
        "ours": lambda: align(world.head, world.statistics, world.blocks_C, current, plan, seed=0),
        "default": lambda: default.align(task_of(world, current, 0, "cpu")),
    }[name]


def held(way: Callable[[], object]) -> int:
    """Bytes that were resident at most while it ran, over those before."""
    process, done = psutil.Process(), threading.Event()
    before = most = process.memory_info().rss

    def look() -> None:
        nonlocal most
        while not done.wait(SAMPLE_S):
            most = max(most, process.memory_info().rss)

    sampler = threading.Thread(target=look)
    sampler.start()
    try:
        way()
    finally:
        done.set()
        sampler.join()
    return most - before


def _in_a_process_of_its_own(name: str, shape: dict[str, int]) -> int:
    command = [sys.executable, "-m", "benchmarks.speed.alignment_memory", "--alone", name, json.dumps(shape)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@click.command()
@click.option("--classes", type=int, multiple=True, default=(100,), show_default=True)
@click.option("--dimension", default=768, show_default=True)
@click.option("--images", default=50, show_default=True, help="Images a class that the statistics are made of.")
@click.option("--blocks", default=10, show_default=True)
@click.option("--alone", type=(click.Choice(list(NAMES)), str), hidden=True)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/alignment-memory.md"), show_default=True
)
def main(
    classes: tuple[int, ...], dimension: int, images: int, blocks: int, alone: tuple[str, str] | None, out: Path
) -> None:
    """The memory of alignment beside the reference's way."""
    torch.set_num_threads(1)
    if alone is not None:
        shape: dict[str, Any] = json.loads(alone[1])
        click.echo(held(way_of(alone[0], make_world(**shape))))
        return
    rows = []
    for count in classes:
        shape = {"classes": count, "dimension": dimension, "images": images, "blocks": blocks}
        found = {name: _in_a_process_of_its_own(name, shape) / MIB for name in NAMES}
        rows += [Figure(f"{count} classes, {NAMES[name]}", "MiB", (value,)) for name, value in found.items()]
        rows += [
            Figure(f"{count} classes, {NAMES[name]}: how many times less", "×", (found["reference"] / found[name],))
            for name in ("ours", "default")
        ]
    table = "\n".join(["| figure | value | spread | aim |", "| --- | --- | --- | --- |", *(one.row for one in rows)])
    command = shlex.join(["python", "-m", "benchmarks.speed.alignment_memory", *sys.argv[1:]])
    what = f"D = {dimension}, {images} images a class, {blocks} blocks, one thread; memory over what was held before."
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(f"# Memory of alignment\n\n    {command}\n\n{what}\n\n{table}\n")
    click.echo(table)


if __name__ == "__main__":
    main()
