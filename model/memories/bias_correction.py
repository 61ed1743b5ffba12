"""BiC: replay and distillation, then two numbers that take back how much the newest classes are favoured."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import Tensor

from model.backbones.features import features_of
from model.heads.head import Head
from model.memories.album import Album
from model.memories.selection import BUFFER, balanced
from model.method import TaskEnd, TaskStart
from model.regularisers.distillation import DistillationPenalty, Teacher
from model.training.stage import LabelledImages, Penalty, Tensors

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Correction:
    """q = α·l + β, class by class."""

    alpha_C: Floats
    beta_C: Floats

    @classmethod
    def of(cls, kept: Tensors, class_count: int) -> "Correction":
        """What a memory's slot says; 1 and 0 for classes that it does not know."""
        alpha_C, beta_C = np.ones(class_count, np.float32), np.zeros(class_count, np.float32)
        if "alpha_C" in kept:
            known = len(kept["alpha_C"])
            alpha_C[:known], beta_C[:known] = kept["alpha_C"].numpy(), kept["beta_C"].numpy()
        return cls(alpha_C, beta_C)

    def applied(self, head: Head) -> Head:
        """The head whose logits are the corrected ones."""
        return Head(head.weight_CD * self.alpha_C[:, None], head.bias_C * self.alpha_C + self.beta_C)

    def without(self, column: int) -> "Correction":
        """Of all classes but one; the columns behind it move up."""
        left = np.delete(np.arange(len(self.alpha_C)), [column] if column < len(self.alpha_C) else [])
        return Correction(self.alpha_C[left], self.beta_C[left])

    def to_tensors(self) -> dict[str, Tensor]:
        """What `of` reads."""
        return {"alpha_C": torch.from_numpy(self.alpha_C), "beta_C": torch.from_numpy(self.beta_C)}


def fitted_bias(logits_NC: Floats, columns_N: Ints, new_columns: Ints, prior: float) -> tuple[float, float]:
    """α and β of the new classes: the least of mean CE + ½·prior·((α − 1)² + β²), a convex problem.

    The prior keeps them finite where few images are told apart without error.
    """
    logits_NC = logits_NC.astype(np.float64)
    rows_N = np.arange(len(columns_N))

    def loss(given: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        alpha, beta = given
        corrected_NC = logits_NC.copy()
        corrected_NC[:, new_columns] = alpha * logits_NC[:, new_columns] + beta
        log_probability_NC = log_softmax(corrected_NC, axis=1)
        slope_NC = np.exp(log_probability_NC)
        slope_NC[rows_N, columns_N] -= 1
        slope_NB = slope_NC[:, new_columns] / len(rows_N)
        pull = np.array([alpha - 1, beta])
        value = -float(log_probability_NC[rows_N, columns_N].mean()) + prior / 2 * float(pull @ pull)
        return value, np.array([(slope_NB * logits_NC[:, new_columns]).sum(), slope_NB.sum()]) + prior * pull

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    return float(found[0]), float(found[1])


def held_out_rows(columns_N: Ints, part: float, rng: np.random.Generator) -> Ints:
    """Equally many rows of every class, about `part` of the smallest one's and at least one.

    Classes of one image, which would have none left to train on, give none and do not count as the smallest.
    """
    rows = [np.flatnonzero(columns_N == column) for column in np.unique(columns_N)]
    rows = [one for one in rows if len(one) > 1]
    if not rows:
        return np.zeros(0, np.int64)
    each = max(1, int(part * min(len(one) for one in rows)))
    return np.sort(np.concatenate([rng.permutation(one)[:each] for one in rows])).astype(np.int64)


@dataclass(frozen=True)
class BiasCorrection:
    """BiC (method.md 4): stage 1 on the task and the buffer under λ·KD + (1 − λ)·CE, T = 2; α and β after it.

    λ is the share of classes that the task does not bring. A `held_out` part of task and buffer, balanced over the
    classes, is not trained on; on it α and β of the task's classes are found, by the optimum instead of by steps. The
    teacher's logits are corrected, so that what older classes needed is learned, and only the last task's stays apart.
    The buffer is class-balanced at random. For scope `seen`, with the aligner of the same name.
    """

    capacity: int = BUFFER
    held_out: float = 0.1
    temperature: float = 2.0
    prior: float = 1e-3

    def lesson(self, kept: Tensors, start: TaskStart) -> LabelledImages:
        """Buffer and task, less what is held out; the first task whole."""
        pool, held_N = self._parted(kept, start, start.images)
        return pool.rows(np.setdiff1d(np.arange(len(pool)), held_N))

    def begin(self, kept: Tensors, start: TaskStart) -> Penalty | None:
        """Distillation from the base, once there is a buffer and a class that this task does not bring."""
        classes, old = start.block.class_count, start.base.unaligned.class_count
        weight = 1 - len(start.block.columns_B) / classes
        if not len(Album.from_tensors(kept)) or weight == 0:
            return None
        teacher = Teacher(start.network, Correction.of(kept, old).applied(start.base.unaligned))
        return DistillationPenalty(teacher, weight, self.temperature, loss_weight=1 - weight)

    def finish(self, kept: Tensors, end: TaskEnd) -> Tensors:
        """The buffer, and `alpha_C`, `beta_C` for all classes."""
        start = end.start
        pool, held_N = self._parted(kept, start, end.images)
        correction = self._corrected(kept, pool.rows(held_N), end)
        rng = np.random.default_rng([start.plan.seed, start.block.number, 1])
        before = len(pool) - len(end.images)
        album = pool.rows(balanced(pool.columns_N, before, self.capacity, rng))
        return {**album.to_tensors(), **correction.to_tensors()}

    def without(self, kept: Tensors, column: int) -> Tensors:
        """The buffer without the class's images; the other classes' corrections."""
        album, _ = Album.from_tensors(kept).without(column)
        known = len(kept["alpha_C"]) if "alpha_C" in kept else 0
        return {**album.to_tensors(), **Correction.of(kept, known).without(column).to_tensors()}

    def _parted(self, kept: Tensors, start: TaskStart, images: LabelledImages) -> tuple[Album, Ints]:
        album = Album.from_tensors(kept)
        pool = album.plus(Album.of(images, start.block.image_columns_N, start.network.spec))
        if not len(album):
            return pool, np.zeros(0, np.int64)
        rng = np.random.default_rng([start.plan.seed, start.block.number, 0])
        return pool, held_out_rows(pool.columns_N, self.held_out, rng)

    def _corrected(self, kept: Tensors, held: Album, end: TaskEnd) -> Correction:
        """α and β by the held-out images; 1 and 0 where only old or only new classes have some.

        Such a part says nothing of how much either side is favoured: its optimum would ban the side that is missing.
        Where nothing was tuned there was no teacher to learn old corrections from, so that they stay, and new classes'
        rows are of statistics, which favour nobody.
        """
        if not end.tuned:
            return Correction.of(kept, end.start.block.class_count)
        correction = Correction.of({}, end.start.block.class_count)
        new_columns = end.start.block.columns_B
        is_new_N = np.isin(held.columns_N, new_columns)
        if is_new_N.all() or not is_new_N.any():
            return correction
        logits_NC = end.head.logits(features_of(end.network, held, end.start.plan))
        alpha, beta = fitted_bias(logits_NC, held.columns_N, new_columns, self.prior)
        correction.alpha_C[new_columns], correction.beta_C[new_columns] = alpha, beta
        return correction
