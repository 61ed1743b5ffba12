"""A run of stage 1 between two steps, complete: what is saved in a checkpoint and gone on from."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from model.heads.head import Head

BACKBONE, MOMENTUM, PENALTIES = "backbone/", "momentum/", "penalties/"
"""Prefixes of tensor names in the stored form."""


@dataclass(frozen=True)
class EpochRecord:
    """A finished epoch: mean training loss and accuracy (0–1) over its images as they were seen."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class Running:
    """Sums over the images of the epoch in progress."""

    loss_sum: float = 0.0
    correct: int = 0
    images: int = 0

    def plus(self, loss_sum: float, correct: int, images: int) -> "Running":
        """With one more micro-batch."""
        return Running(self.loss_sum + loss_sum, self.correct + correct, self.images + images)

    @property
    def loss(self) -> float:
        """Mean loss so far."""
        return self.loss_sum / max(1, self.images)

    @property
    def accuracy(self) -> float:
        """Accuracy so far."""
        return self.correct / max(1, self.images)


@dataclass(frozen=True, eq=False)
class TuningState:
    """`epoch` and `step` are the next to do, counted from 0; `epochs` is how many there shall be.

    `backbone` holds all weights and buffers by name, `momentum` the optimiser's buffers by `backbone.NAME` or
    `head.NAME`, `penalties` what the stage's penalties carry along.
    """

    epoch: int
    step: int
    epochs: int
    history: tuple[EpochRecord, ...]
    running: Running
    backbone: dict[str, Tensor]
    head: Head
    momentum: dict[str, Tensor] = field(default_factory=dict)
    penalties: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def start(cls, backbone: dict[str, Tensor], head: Head, epochs: int) -> "TuningState":
        """Before the first step."""
        return cls(0, 0, epochs, (), Running(), backbone, head)

    @property
    def done(self) -> bool:
        """Whether every epoch has been learned."""
        return self.epoch >= self.epochs

    def to_bytes(self) -> bytes:
        """The state as safetensors, its numbers as JSON in the metadata; equal states give equal bytes."""
        tensors = {BACKBONE + name: tensor.contiguous() for name, tensor in self.backbone.items()}
        tensors |= {MOMENTUM + name: tensor.contiguous() for name, tensor in self.momentum.items()}
        tensors |= {PENALTIES + name: tensor.contiguous() for name, tensor in self.penalties.items()}
        tensors |= {name: torch.from_numpy(array) for name, array in self.head.to_arrays().items()}
        numbers = {
            "epoch": self.epoch,
            "step": self.step,
            "epochs": self.epochs,
            "history": [asdict(record) for record in self.history],
            "running": asdict(self.running),
        }
        return save(tensors, metadata={"state": json.dumps(numbers, sort_keys=True)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "TuningState":
        """The state that `to_bytes` wrote. Raises ValueError where `data` is anything else."""
        try:
            return cls._parsed(data)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("not a tuning state") from error
        except Exception as error:
            if type(error).__module__.startswith("safetensors"):
                raise ValueError("not a tuning state") from error
            raise

    @classmethod
    def _parsed(cls, data: bytes) -> "TuningState":
        tensors = load(data)
        numbers = _metadata(data)
        head = Head(_array(tensors.pop("weight_CD")), _array(tensors.pop("bias_C")))
        return cls(
            numbers["epoch"],
            numbers["step"],
            numbers["epochs"],
            tuple(EpochRecord(**record) for record in numbers["history"]),
            Running(**numbers["running"]),
            _prefixed(tensors, BACKBONE),
            head,
            _prefixed(tensors, MOMENTUM),
            _prefixed(tensors, PENALTIES),
        )


def _metadata(data: bytes) -> dict[str, Any]:
    """The JSON in the header, which starts after its length in 8 little-endian bytes."""
    length = int.from_bytes(data[:8], "little")
    numbers: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["state"])
    return numbers


def _prefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _array(tensor: Tensor) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return np.asarray(tensor.numpy(), dtype=np.float32)
