"""The protocols by name; a new one is one reader and one line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stream.errors import NotFound
from stream.protocols.cars196 import read_cars196
from stream.protocols.cifar100 import read_cifar100
from stream.protocols.cub200 import read_cub200
from stream.protocols.dataset import Dataset, Part
from stream.protocols.imagenet_r import read_imagenet_r
from stream.protocols.pacs import read_pacs
from stream.protocols.schedule import Schedule
from stream.protocols.tables import read_tables
from stream.protocols.trees import read_tree


@dataclass(frozen=True)
class ProtocolSpec:
    """What it is, how its classes usually come, how many there are (None: any), and who reads it."""

    description: str
    schedule: Schedule
    classes: int | None
    read: Callable[[Path], Dataset]


TEN = Schedule(tasks=10)

PROTOCOLS: Mapping[str, ProtocolSpec] = {
    "cifar100": ProtocolSpec(
        "Split CIFAR-100, 10 tasks of 10; Python pickles, binary or Parquet", TEN, 100, read_cifar100
    ),
    "imagenet_r": ProtocolSpec(
        "Split ImageNet-R, 10 tasks of 20; folders, with split lists or without", TEN, 200, read_imagenet_r
    ),
    "cub200": ProtocolSpec("Split CUB-200-2011, 10 tasks of 20; its own lists", TEN, 200, read_cub200),
    "cars196": ProtocolSpec(
        "Split Cars-196, 9 tasks of 20 and one of 16; devkit, single list or folders",
        Schedule(sizes=(20,) * 9 + (16,)),
        196,
        read_cars196,
    ),
    "pacs": ProtocolSpec(
        "PACS, a task a domain; lists, domain folders or Parquet", Schedule(by_domain=True), 7, read_pacs
    ),
    "folder": ProtocolSpec("Any tree with a folder a class", TEN, None, partial(read_tree, "folder")),
    "parquet": ProtocolSpec("Any Parquet tables of images and labels", TEN, None, partial(read_tables, "parquet")),
}


def read_dataset(protocol: str, folder: Path, part: Part | None = None) -> Dataset:
    """The data set of a protocol, or a part of it. Raises NotFound for an unknown protocol, and ProtocolError."""
    spec = PROTOCOLS.get(protocol)
    if spec is None:
        raise NotFound("protocol", protocol)
    return (part or Part()).of(spec.read(folder))
