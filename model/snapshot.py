"""Everything that a version is: what serves, and what the next task is learned on from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from model.backbones.spec import BackboneSpec
from model.heads.head import Head
from model.scores.novelty import NoveltyRule
from model.statistics.class_statistics import ClassStatistics

Ints = NDArray[np.int64]

KEPT = "kept/"
"""Prefix of what the method's parts keep, in the stored form of the learner's state."""


class SnapshotError(ValueError):
    """Parts or a description that do not make a snapshot; the text says what is wrong."""


@dataclass(frozen=True)
class SnapshotClass:
    """One class by column: `since` is the task that first brought it (None: it came with an import), `block` the number
    of the last one that did.

    Blocks count 1, 2, 3 … along the lineage. `images` are those that were learned from. `trained` says whether stage 1
    made its row of the un-aligned head; a discriminant over all classes did otherwise.
    """

    label: str
    since: str | None
    block: int
    images: int
    trained: bool = True


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A version's content. `unaligned` is the head as stage 1 left it, `aligned` the one that serves.

    `kept` is what parts of the method remember beside these, by `SLOT/NAME` (`model/method.py`). `tuned_tasks` says how
    many tasks of the lineage left stage 1's weights in it: not those of one class, nor those whose weights were worse.

    Raises SnapshotError where classes, heads and statistics are not of one number.
    """

    spec: BackboneSpec
    method: str
    backbone: Mapping[str, Tensor]
    classes: tuple[SnapshotClass, ...]
    unaligned: Head
    aligned: Head
    statistics: ClassStatistics
    temperature: float = 1.0
    novelty: NoveltyRule | None = None
    kept: Mapping[str, Tensor] = field(default_factory=dict)
    tuned_tasks: int = 0

    def __post_init__(self) -> None:
        counts = {
            "classes": len(self.classes),
            "un-aligned head": self.unaligned.class_count,
            "aligned head": self.aligned.class_count,
            "statistics": self.statistics.class_count,
        }
        if len(set(counts.values())) > 1:
            raise SnapshotError(f"numbers of classes differ: {counts}")

    @classmethod
    def root(cls, spec: BackboneSpec, backbone: Mapping[str, Tensor], feature_dim: int, method: str) -> Self:
        """Pre-trained weights and no class: what a first task is learned on."""
        head = Head.empty(feature_dim)
        return cls(spec, method, backbone, (), head, head, ClassStatistics.empty(feature_dim))

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels by column."""
        return tuple(one.label for one in self.classes)

    @property
    def blocks_C(self) -> Ints:
        """t(c) by column."""
        return np.array([one.block for one in self.classes], dtype=np.int64)

    @property
    def trained_C(self) -> NDArray[np.bool_]:
        """By column, whether stage 1 made the un-aligned row."""
        return np.array([one.trained for one in self.classes], dtype=bool)

    @property
    def next_block(self) -> int:
        """The number that the next task's block gets."""
        return 1 + max((one.block for one in self.classes), default=0)

    @property
    def next_tuning(self) -> int:
        """The number of the next task for whoever tunes: 1 until a task has left weights of its own."""
        return self.tuned_tasks + 1

    def calibrated(self, temperature: float, novelty: NoveltyRule | None) -> "Snapshot":
        """The same with this temperature and rule."""
        return replace(self, temperature=temperature, novelty=novelty)

    def to_parts(self) -> dict[str, bytes]:
        """safetensors by role: `backbone`, `head`, `learner`, `statistics`, and `novelty` where there is a rule.

        Equal snapshots give equal bytes.
        """
        parts = {
            "backbone": save_tensors({name: tensor.contiguous() for name, tensor in self.backbone.items()}),
            "head": _saved(self.aligned.to_arrays()),
            "learner": self._learner_part(),
            "statistics": _saved(self.statistics.to_arrays()),
        }
        if self.novelty is not None:
            parts["novelty"] = _saved(self.novelty.to_arrays())
        return parts

    def _learner_part(self) -> bytes:
        tensors = {name: torch.from_numpy(array) for name, array in self.unaligned.to_arrays().items()}
        return save_tensors(tensors | {KEPT + name: tensor.contiguous() for name, tensor in self.kept.items()})

    def describe(self) -> dict[str, Any]:
        """All that is no array, as plain JSON values."""
        return {
            "spec": self.spec.to_json(),
            "method": self.method,
            "classes": [asdict(one) for one in self.classes],
            "temperature": self.temperature,
            "known_threshold": None if self.novelty is None else self.novelty.threshold,
            "tuned_tasks": self.tuned_tasks,
        }

    @classmethod
    def from_parts(cls, parts: Mapping[str, bytes], description: Mapping[str, Any]) -> Self:
        """The snapshot that `to_parts` and `describe` wrote; raises SnapshotError where they are damaged."""
        try:
            learner = load_tensors(parts["learner"])
            classes = _classes(description)
            novelty = NoveltyRule.from_arrays(load_arrays(parts["novelty"])) if "novelty" in parts else None
            return cls(
                spec=BackboneSpec.from_json(description["spec"]),
                method=description["method"],
                backbone=load_tensors(parts["backbone"]),
                classes=classes,
                unaligned=Head.from_arrays({name: learner[name].numpy() for name in ("weight_CD", "bias_C")}),
                aligned=Head.from_arrays(load_arrays(parts["head"])),
                statistics=ClassStatistics.from_arrays(load_arrays(parts["statistics"])),
                temperature=description["temperature"],
                novelty=novelty,
                kept={name.removeprefix(KEPT): tensor for name, tensor in learner.items() if name.startswith(KEPT)},
                tuned_tasks=_tuned_tasks(description),
            )
        except SnapshotError:
            raise
        except Exception as error:
            raise SnapshotError(f"not a snapshot: {error!r}") from error


def _tuned_tasks(description: Mapping[str, Any]) -> int:
    """Versions from before this was counted: as if every task had."""
    return int(description.get("tuned_tasks", max((one["block"] for one in description["classes"]), default=0)))


def _classes(description: Mapping[str, Any]) -> tuple[SnapshotClass, ...]:
    """Versions from before it was noted whose row was trained: as if all were, once a task had tuned."""
    otherwise = {"trained": _tuned_tasks(description) > 0}
    return tuple(SnapshotClass(**(otherwise | one)) for one in description["classes"])


def _saved(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    return bytes(save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
