"""What a run was made from beside its configuration: which weights, which images, which numbers, on what device."""

import hashlib
import os
import platform
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from everclass.bench.course import Course
from everclass.bench.recipe import Training
from model.backbones.pretrained import EMBEDDED_BACKBONE, EMBEDDED_SHA256
from model.backbones.spec import BackboneSpec
from stream.protocols import Dataset, Examples

IDENTITY = ("weights", "data")
"""What must be the same for two runs to be the same run."""

LOOKED_AT = 4096
"""Bytes of an image in memory that its digest is made of: a whole one of CIFAR, and the head of a compressed file."""


def inputs_of(dataset: Dataset, spec: BackboneSpec, weights: Path | None) -> dict[str, Any]:
    """The digests that say which weights and images these are, as plain JSON values. Raises OSError."""
    return {"weights": weights_digest(spec, weights), "data": data_digest(dataset)}


def provenance(course: Course, note: str, training: Training) -> dict[str, Any]:
    """What a reader of figures wants to know of the images that come in the course's tasks, and of where they are
    learned; no run is told apart by it.

    `micro_batch` images go through the network at once; where its normalisation is over a batch, figures may differ by
    it.
    """
    lessons = course.lessons
    return {
        "note": note,
        "classes": len({one for lesson in lessons for one in lesson.classes}),
        "train_images": sum(len(lesson.train) for lesson in lessons),
        "test_images": sum(len(lesson.test) for lesson in lessons),
        "device": device_name(training.device),
        "micro_batch": training.micro_batch,
    }


def device_name(device: str) -> str:
    """The model of the GPU or CPU; the machine's architecture where the system tells no model."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(models), platform.processor() or platform.machine())


def as_plain(value: Any) -> Any:
    """A composition of dataclasses, as a method is, as plain JSON values; `is` names the class of each part.

    Left out is what is None or empty.
    """
    if is_dataclass(value):
        parts = {field.name: as_plain(getattr(value, field.name)) for field in fields(value)}
        there = {name: part for name, part in parts.items() if part is not None and part != []}
        return {"is": type(value).__name__, **there}
    if isinstance(value, Set):
        return sorted(as_plain(one) for one in value)
    if isinstance(value, list | tuple):
        return [as_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def weights_digest(spec: BackboneSpec, weights: Path | None) -> str:
    """The SHA-256 of the file, or the name under which the hub has the weights. Raises OSError."""
    if weights is not None:
        with weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return EMBEDDED_SHA256 if spec.name == EMBEDDED_BACKBONE else f"hub {spec.name}"


def data_digest(dataset: Dataset) -> str:
    """A SHA-256 of the classes in order and of each image's class, domain, file name and size; no file is read.

    File names count from the folder that holds all of them, so that a data set may move. Of an image that is in memory,
    its first bytes count in place of a name. Raises OSError for a file that is gone.
    """
    parts = (dataset.train, dataset.test)
    paths = [source.absolute() for part in parts for source in part.sources if isinstance(source, Path)]
    root = os.path.commonpath([path.parent for path in paths]) if paths else ""
    digest = hashlib.sha256(repr((dataset.classes, dataset.domains)).encode())
    for part in parts:
        digest.update(b"part %d\n" % len(part))
        for row in range(len(part)):
            digest.update(b"%d %d " % (part.classes_N[row], part.domains_N[row]) + _described(part, row, root) + b"\n")
    return digest.hexdigest()


def _described(part: Examples, row: int, root: str) -> bytes:
    source = part.sources[row]
    if isinstance(source, Path):
        return f"{os.path.relpath(source.absolute(), root)} {source.stat().st_size}".encode()
    data = np.ascontiguousarray(source).reshape(-1).data if isinstance(source, np.ndarray) else source.data
    return b"%d " % len(data) + hashlib.sha256(data[:LOOKED_AT]).digest()


def same_inputs(some: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Whether nothing says that these are other weights or images; lines of older code say nothing of them."""
    return all(some[name] == others[name] for name in IDENTITY if name in some and name in others)
