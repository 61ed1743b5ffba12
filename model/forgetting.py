"""A snapshot without one of its classes: statistics, rows of both heads, images that a memory keeps of it.

The remaining classes keep their statistics and trained rows bit for bit; the head that serves is aligned anew over
them. Weights of the backbone were tuned on the class's images too and stay as they are.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.heads.closed_form import RowScale, linear_discriminant
from model.heads.head import Head
from model.learning import Making, aligned
from model.method import Method, filed, slot
from model.snapshot import Snapshot
from model.statistics.class_statistics import ClassStatistics


class CannotForget(ValueError):
    """The class cannot be taken out of this snapshot; the text says why."""


def without_class(base: Snapshot, label: str, making: Making) -> Snapshot:
    """The snapshot as it would stand without the class, its rule for unknown images to be fitted again.

    Where nothing aligns heads (no aligner, or the first task's classes alone under the paper's), the un-aligned rows
    serve: those of the head that served were trained against the class's features. Un-aligned rows that no task has
    trained are made anew. `making.check` is called between the steps of alignment and may raise to stop.

    Raises CannotForget for an unknown class, the only class, and a method that keeps sums of all classes together.
    """
    column = _column(base, label)
    _check_split(base, making.method)
    left = np.delete(np.arange(len(base.labels)), column)
    statistics = base.statistics.without(column)
    unaligned = _with_untrained_rows_anew(base.unaligned.rows(left), base.trained_C[left], statistics)
    snapshot = replace(
        base,
        classes=tuple(base.classes[c] for c in left),
        unaligned=unaligned,
        aligned=unaligned,
        statistics=statistics,
        novelty=None,
        kept=_kept_of_others(base, column, making.method),
    )
    nothing_ND = np.zeros((0, base.statistics.dimension), np.float32)
    last_block = int(snapshot.blocks_C.max())
    return aligned(snapshot, last_block, nothing_ND, np.zeros(0, np.int64), making)


def _with_untrained_rows_anew(unaligned: Head, trained_C: NDArray[np.bool_], statistics: ClassStatistics) -> Head:
    """Rows that no task has trained are those of a discriminant, which told the class from the others too."""
    discriminant = RowScale.of(unaligned.rows(np.flatnonzero(trained_C))).applied(linear_discriminant(statistics))
    untrained = np.flatnonzero(~trained_C)
    return unaligned.with_rows(untrained, discriminant.rows(untrained))


def _column(base: Snapshot, label: str) -> int:
    if label not in base.labels:
        raise CannotForget(f"it does not know the class {label!r}")
    if len(base.labels) == 1:
        raise CannotForget(f"{label!r} is its only class")
    return base.labels.index(label)


def _check_split(base: Snapshot, method: Method) -> None:
    if method.aligner is not None and "features" in method.aligner.reads:
        raise CannotForget(f"method {base.method} keeps sums over all classes, which cannot be split")


def _kept_of_others(base: Snapshot, column: int, method: Method) -> dict[str, Tensor]:
    """All that parts of the method keep, but what a memory keeps of the class."""
    kept = slot(base.kept, "memory")
    others = {name: tensor for name, tensor in base.kept.items() if not name.startswith("memory/")}
    if method.memory is None or not kept:
        return others
    return others | filed("memory", method.memory.without(kept, column))
