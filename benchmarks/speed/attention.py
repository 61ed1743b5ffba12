"""`python -m benchmarks.speed.attention`: attention in bf16 as torch's fused kernel and spelt out, in turn.

Milliseconds of processor time for an image on one thread, with a backward pass and without, and what a forward pass
holds for the backward one, of vision transformers of random weights. What `MOST_TOKENS_SPELT_OUT` rests on.
"""

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import timm
import torch

from benchmarks.speed.figures import Figure, write

NETWORKS = (("vit_tiny_patch16_224", 112, 32), ("vit_tiny_patch16_224", 224, 16), ("vit_base_patch16_224", 224, 4))
"""Name, image size, batch."""


def network_of(name: str, size: int, *, fused: bool) -> Any:
    """A network whose attention is computed that way."""
    network: Any = timm.create_model(name, num_classes=0, img_size=size)
    for block in network.blocks:
        block.attn.fused_attn = fused
    return network


def features(network: Any, images_BCHW: torch.Tensor) -> None:
    """A forward pass as features are extracted."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        network(images_BCHW)


def learn(network: Any, images_BCHW: torch.Tensor) -> None:
    """A step's gradient."""
    with torch.autocast("cpu", torch.bfloat16):
        outputs_BD = network(images_BCHW)
    outputs_BD.float().square().mean().backward()
    network.zero_grad(set_to_none=True)


def held_mib(network: Any, images_BCHW: torch.Tensor) -> float:
    """MiB of all tensors that a forward pass keeps for the backward one, but for the weights, for an image."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        outputs_BD = network(images_BCHW)
    outputs_BD.float().square().mean().backward()
    network.zero_grad(set_to_none=True)
    return sum(kept.values()) / 2**20 / len(images_BCHW)


def alternate(ways: Mapping[str, Callable[[], None]], images: int, rounds: int) -> dict[str, tuple[float, ...]]:
    """Milliseconds an image of each, turn by turn, after a round to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, way in ways.items():
            started = time.process_time()
            way()
            if round_:
                taken[name].append(1000 * (time.process_time() - started) / images)
    return {name: tuple(values) for name, values in taken.items()}


@click.command()
@click.option("--rounds", default=7, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/attention"))
def main(rounds: int, out: Path) -> None:
    """Fused and spelt out, network by network."""
    torch.set_num_threads(1)
    rows = []
    for name, size, batch in NETWORKS:
        images_BCHW = torch.rand(batch, 3, size, size)
        networks = {way: network_of(name, size, fused=way == "fused") for way in ("fused", "spelt out")}
        for way, it in networks.items():
            held = (held_mib(it, images_BCHW),)
            rows.append(Figure(f"{name}, {size} px, held for the backward pass: {way}", "MiB/image", held))
        for doing in (features, learn):
            told = f"{name}, {size} px, {batch} at once, {doing.__name__}"
            taken = alternate({way: partial(doing, it, images_BCHW) for way, it in networks.items()}, batch, rounds)
            rows += [Figure(f"{told}: {way}", "ms/image", values) for way, values in taken.items()]
            ratios = tuple(a / b for a, b in zip(taken["fused"], taken["spelt out"], strict=True))
            rows.append(Figure(f"{told}: spelt out against fused", "×", ratios))
    command = shlex.join(["python", "-m", "benchmarks.speed.attention", *sys.argv[1:]])
    click.echo(write(rows, "cpu bf16, one thread", command, out, title="Attention, fused and spelt out"))


if __name__ == "__main__":
    main()
