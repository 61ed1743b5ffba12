"""A snapshot without one of its classes: statistics, rows of both heads, and what stands in their place.

The remaining classes keep their statistics and un-aligned rows bit for bit; the head that serves is aligned anew over
them. Weights of the backbone were tuned on the class's images too and stay as they are.
"""

from dataclasses import replace

import numpy as np

from model.learning import aligned
from model.method import Method, slot
from model.snapshot import Snapshot
from model.stopping import Check, unchecked


class CannotForget(ValueError):
    """The class cannot be taken out of this snapshot; the text says why."""


def without_class(
    base: Snapshot, label: str, method: Method, *, seed: int, device: str = "cpu", check: Check = unchecked
) -> Snapshot:
    """The snapshot as it would stand without the class, its rule for unknown images to be fitted again.

    Where nothing aligns heads (no aligner, or the first task's classes alone under the paper's), the class's row is
    taken out of the head that serves, and no score among the others changes its order.
    `check` is called between the steps of alignment and may raise to stop.

    Raises CannotForget for an unknown class, the only class, and a method that keeps things of all classes together.
    """
    column = _column(base, label)
    _check_kept(base, method)
    left = np.delete(np.arange(len(base.labels)), column)
    snapshot = replace(
        base,
        classes=tuple(base.classes[c] for c in left),
        unaligned=base.unaligned.rows(left),
        aligned=base.aligned.rows(left),
        statistics=base.statistics.without(column),
        novelty=None,
    )
    nothing_ND = np.zeros((0, base.statistics.dimension), np.float32)
    last_block = int(snapshot.blocks_C.max())
    return aligned(snapshot, last_block, nothing_ND, np.zeros(0, np.int64), method, seed, device, check)


def _column(base: Snapshot, label: str) -> int:
    if label not in base.labels:
        raise CannotForget(f"it does not know the class {label!r}")
    if len(base.labels) == 1:
        raise CannotForget(f"{label!r} is its only class")
    return base.labels.index(label)


def _check_kept(base: Snapshot, method: Method) -> None:
    if method.memory is not None or slot(base.kept, "memory"):
        raise CannotForget(f"method {base.method} keeps images of its classes together")
    if method.aligner is not None and not method.aligner.reads <= {"head", "statistics"}:
        raise CannotForget(f"method {base.method} keeps sums over all classes, which cannot be split")
