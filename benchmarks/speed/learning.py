"""`python -m benchmarks.speed.learning`: stage 1 beside a plain PyTorch loop with the reference's settings, in one run.

The plain loop is what one would write first: a `DataLoader` of eight processes over torchvision's transforms, single
precision, one SGD of two rates, batches of 128 (method.md 2.1). It decodes the JPEG photographs anew each epoch; ours
keeps them decoded, and copies its state before and after each epoch, as the server and the study do. Epochs alternate,
so that a machine that slows down slows both.
"""

import io
import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from benchmarks.speed.figures import Figure, write
from benchmarks.speed.photographs import photographs
from everclass.bench.course import Decoded
from everclass.bench.recipe import Training
from everclass.bench.request import BenchRequest
from model import paper
from model.backbones.backbone import build, size_settings
from model.backbones.spec import BackboneSpec
from model.continual import Placed
from model.heads.head import Head
from model.pixels.images import decode
from model.training.tuning import tune

WORKERS = 8
"""Processes of the reference's loader."""

CLASSES = 10


@dataclass(frozen=True, eq=False)
class Jpegs:
    """Photographs of ten classes as they are stored; each look at one decodes it."""

    files: list[bytes]
    classes_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.files)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Image `index`, H×W×3 RGB."""
        return decode(self.files[index], max_pixels=10**7)

    @classmethod
    def of(cls, count: int) -> "Jpegs":
        """So many photographs of ten classes."""
        shown = photographs(range(CLASSES), -(-count // CLASSES))[:count]
        files = [one.image for one in shown if isinstance(one.image, bytes)]
        return cls(files, np.arange(len(files)) // -(-count // CLASSES))


class PlainDataset(Dataset[tuple[Tensor, int]]):
    """The same photographs with the reference's transforms of Split CIFAR-100."""

    def __init__(self, images: Jpegs, size: int) -> None:
        self._images = images
        self._transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(size, interpolation=InterpolationMode.BICUBIC),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(brightness=63 / 255),
                transforms.ToTensor(),
                transforms.Normalize((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
            ]
        )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.open(io.BytesIO(self._images.files[index])).convert("RGB")
        return self._transform(image), int(self._images.classes_N[index])


class PlainLoop:
    """A timm network with its classifier under SGD of two rates, in single precision."""

    def __init__(self, spec: BackboneSpec, images: Jpegs, device: str) -> None:
        self._device = device
        network: Any = timm.create_model(spec.name, num_classes=CLASSES, **size_settings(spec)).to(device).train()
        head = list(network.get_classifier().parameters())
        own = {id(parameter) for parameter in head}
        backbone = [parameter for parameter in network.parameters() if id(parameter) not in own]
        rate = paper.HEAD_RATE * paper.BACKBONE_RATIO
        groups: list[dict[str, Any]] = [{"params": backbone, "lr": rate}, {"params": head}]
        self._network: nn.Module = network
        self._optimiser = torch.optim.SGD(groups, paper.HEAD_RATE, paper.MOMENTUM, weight_decay=paper.WEIGHT_DECAY)
        workers = min(WORKERS, os.cpu_count() or 1)
        self._loader = DataLoader(PlainDataset(images, spec.image_size), paper.BATCH, shuffle=True, num_workers=workers)

    def epoch(self) -> None:
        """One pass over the photographs; each loss is read, as the reference reads it."""
        for inputs_BCHW, columns_B in self._loader:
            logits_BC = self._network(inputs_BCHW.to(self._device))
            loss = nn.functional.cross_entropy(logits_BC, columns_B.to(self._device))
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            loss.item()


class Ours:
    """The slow learner, an epoch a call with all that surrounds it."""

    def __init__(self, training: Training, images: Jpegs) -> None:
        self._backbone = build(training.spec).to(training.device)
        self._images = Placed(Decoded(images), images.classes_N)
        self._plan = replace(training.plan(0, 0), epochs=1, milestones=())
        self._head = Head(np.zeros((CLASSES, self._backbone.feature_dim), np.float32), np.zeros(CLASSES, np.float32))

    def epoch(self) -> None:
        """One pass over the photographs."""
        tune(self._backbone, self._images, self._head, self._plan)


def compare(ways: dict[str, Callable[[], None]], images: int, rounds: int) -> dict[str, tuple[float, ...]]:
    """Images per second of each way, turn by turn, after an epoch of each to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, epoch in ways.items():
            started = time.perf_counter()
            epoch()
            if round_:
                taken[name].append(images / (time.perf_counter() - started))
    return {name: tuple(values) for name, values in taken.items()}


@click.command()
@click.option("--backbone", default="vit_base_patch16_224", show_default=True, help="A timm name; weights are random.")
@click.option("--image-size", default=224, show_default=True)
@click.option("--images", default=4096, show_default=True, help="Photographs of an epoch.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/speed-learning"))
def main(
    backbone: str,
    image_size: int,
    images: int,
    rounds: int,
    precision: Literal["auto", "fp32", "bf16"],
    device: str,
    out: Path,
) -> None:
    """The slow learner beside a plain loop."""
    request = BenchRequest(
        "cifar100", Path(), ("slca",), backbone=backbone, image_size=image_size, precision=precision, device=device
    )
    training, shown = request.training(), Jpegs.of(images)
    ways = {
        "plain loop": PlainLoop(training.spec, shown, training.device).epoch,
        "ours": Ours(training, shown).epoch,
    }
    per_s = compare(ways, images, rounds)
    rows = [Figure(f"{backbone}: {name}", "images/s", values) for name, values in per_s.items()]
    ratios = tuple(mine / its for mine, its in zip(per_s["ours"], per_s["plain loop"], strict=True))
    aim = "≥ 1.5" if training.device == "cpu" else "≥ 3"
    rows.append(Figure(f"{backbone}: ours against the plain loop", "×", ratios, aim))
    command = shlex.join(["python", "-m", "benchmarks.speed.learning", *sys.argv[1:]])
    where = "cpu" if training.device == "cpu" else torch.cuda.get_device_name(training.device)
    click.echo(write(rows, f"{where} {training.precision}", command, out, title="Stage 1"))


if __name__ == "__main__":
    main()
