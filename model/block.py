"""The classes in a task's images, and where they stand among all classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model import paper
from model.heads.head import Head
from model.snapshot import Snapshot

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Block:
    """A task's classes in order of their columns, and its images.

    `columns_B` are the columns of `labels` among all `class_count` classes after the task, `known_B` says which the
    base knows, `image_columns_N` is the column of each image.
    """

    number: int
    labels: tuple[str, ...]
    columns_B: Ints
    known_B: NDArray[np.bool_]
    image_columns_N: Ints
    class_count: int

    @property
    def image_positions_N(self) -> Ints:
        """The position in the block of each image's class: what stage 1 predicts."""
        return np.searchsorted(self.columns_B, self.image_columns_N).astype(np.int64)

    @property
    def needs_tuning(self) -> bool:
        """Whether stage 1 has anything to tell apart; the loss over one class is constant."""
        return len(self.labels) > 1

    @property
    def known_columns(self) -> Ints:
        """Columns of the classes that come again."""
        return self.columns_B[self.known_B]

    @property
    def new_columns(self) -> Ints:
        """Columns of the classes that come for the first time."""
        return self.columns_B[~self.known_B]


def lay_out(base: Snapshot, labels_N: Sequence[str], arrival: Sequence[str] = ()) -> Block:
    """The block of a task whose images have these labels: known classes keep their columns, new ones follow as they
    come, in `arrival` first where that tells of more than the images that are learned from.

    Raises ValueError without images.
    """
    if not labels_N:
        raise ValueError("a task without images has no block")
    column = {label: c for c, label in enumerate(base.labels)}
    present = set(labels_N)
    for label in (*arrival, *labels_N):
        if label in present:
            column.setdefault(label, len(column))
    labels = tuple(sorted(set(labels_N), key=column.__getitem__))
    columns_B = np.array([column[label] for label in labels], dtype=np.int64)
    image_columns_N = np.array([column[label] for label in labels_N], dtype=np.int64)
    known_B = columns_B < len(base.labels)
    return Block(base.next_block, labels, columns_B, known_B, image_columns_N, len(column))


def starting_head(base: Snapshot, block: Block, seed: int | Sequence[int]) -> Head:
    """The block's head before stage 1: known classes as they were left un-aligned, new ones random.

    New rows are normal with deviation 0.02; biases are 0 (method.md 2.1; the reference's truncation is at ±2, a hundred
    deviations away).
    """
    rng = np.random.default_rng(seed)
    weight_BD = np.zeros((len(block.labels), base.unaligned.feature_dim), dtype=np.float32)
    weight_BD[~block.known_B] = paper.HEAD_STD * rng.standard_normal((len(block.new_columns), weight_BD.shape[1]))
    head = Head(weight_BD, np.zeros(len(block.labels), dtype=np.float32))
    return head.with_rows(np.flatnonzero(block.known_B), base.unaligned.rows(block.known_columns))
