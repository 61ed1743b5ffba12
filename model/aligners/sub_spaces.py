"""EASE: a prototype of every class in every sub-space, those that no image can give made from similar classes."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.heads.closed_form import nearest_mean
from model.heads.head import Head
from model.method import Aligned, AlignmentTask, Classifier, Source
from model.training.stage import Tensors

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SubSpaceClassifier:
    """A linear head on features whose sub-spaces, of `dimension` numbers each, are normalised one by one."""

    head: Head
    dimension: int

    def logits(self, features_NE: Floats) -> Floats:
        """`logits_NC` of features whose sub-spaces stand side by side, E = S·D."""
        return self.head.logits(normalised(features_NE, self.dimension))


@dataclass(frozen=True)
class SubSpaceAligner:
    """Prototypes after every task; `others` weighs the sub-spaces of other tasks against the class's own, which has 1.

    Sub-space 0 is the plain network's. A class's own is the newest of when it was learned last; in those that came
    later its prototype is Σ_n softmax_n(cos(A_o, A_n))·B_n over all classes n that were measured there, A in the
    class's own sub-space and B in the later one (method.md 4), made anew after every task (`recalc_sim` of the source's
    configurations). `plain` weighs sub-space 0 where it is not the class's own. All prototypes are kept; the head
    beside them is the nearest mean of the plain features.

    `together`: one cosine over all sub-spaces as one long vector, without weights (APER).
    """

    others: float = 0.1
    plain: float = 0.0
    together: bool = False

    @property
    def is_in_head(self) -> bool:
        """Every sub-space is normalised on its own."""
        return False

    @property
    def on_first_task(self) -> bool:
        """Also the first task's classes have prototypes."""
        return True

    @property
    def reads(self) -> frozenset[Source]:
        """The prototypes are means of the task's features."""
        return frozenset({"features"})

    def align(self, task: AlignmentTask) -> Aligned:
        """The prototypes with those of the task's classes, and old classes' in all later sub-spaces."""
        columns_B = np.unique(task.columns_N)
        spaces_NSD = task.features_ND.reshape(len(task.columns_N), -1, task.statistics.dimension)
        mean_BSD = np.stack([spaces_NSD[task.columns_N == one].mean(axis=0, dtype=np.float64) for one in columns_B])
        prototype_CSD, own_C = self._grown(task, mean_BSD.shape[1])
        for column, mean_SD in zip(columns_B, mean_BSD, strict=True):
            new = int((task.columns_N == column).sum())
            share = new / int(task.statistics.count_C[column])
            measured = slice(0, int(own_C[column]) + 1)
            mean_SD[measured] = share * mean_SD[measured] + (1 - share) * prototype_CSD[column, measured]
            prototype_CSD[column] = mean_SD
        own_C[columns_B] = mean_BSD.shape[1] - 1
        _complete(prototype_CSD, own_C)
        kept = {"prototype_CSD": torch.from_numpy(prototype_CSD), "own_C": torch.from_numpy(own_C)}
        return Aligned(nearest_mean(task.statistics), kept)

    def classifier(self, head: Head, kept: Tensors) -> Classifier:
        """Cosines to the kept prototypes, weighted by whose sub-space it is."""
        return self.over(self.rows(kept), head.feature_dim)

    def rows(self, kept: Tensors) -> Head:
        """The kept prototypes as a linear head over all sub-spaces: Σ_s w_cs·cos(f_s, P_cs) of normalised ones."""
        prototype_CSD, own_C = kept["prototype_CSD"].numpy(), kept["own_C"].numpy()
        if self.together:
            row_CE = _unit(prototype_CSD.reshape(len(own_C), -1))
        else:
            weight_CS = np.full(prototype_CSD.shape[:2], self.others, np.float32)
            weight_CS[:, 0] = self.plain
            weight_CS[np.arange(len(own_C)), own_C] = 1
            row_CSD = weight_CS[:, :, None] * _unit(prototype_CSD) / np.sqrt(prototype_CSD.shape[2])
            row_CE = row_CSD.reshape(len(own_C), -1)
        return Head(row_CE.astype(np.float32), np.zeros(len(own_C), np.float32))

    def over(self, head: Head, dimension: int) -> Classifier:
        """A linear head over all sub-spaces, of `dimension` numbers each, with what comes before it."""
        return head if self.together else SubSpaceClassifier(head, dimension)

    def seen(self, features_NE: Floats, dimension: int) -> Floats:
        """Features as such a head sees them: sub-spaces normalised one by one, or as they are (`together`)."""
        return features_NE if self.together else normalised(features_NE, dimension)

    def _grown(self, task: AlignmentTask, spaces: int) -> tuple[Floats, Ints]:
        """What was kept, with zeros for classes and sub-spaces that are new."""
        classes = task.unaligned.class_count
        prototype_CSD = np.zeros((classes, spaces, task.statistics.dimension), np.float32)
        own_C = np.zeros(classes, np.int64)
        if "aligner/own_C" in task.kept:
            known_CSD = task.kept["aligner/prototype_CSD"].numpy()
            prototype_CSD[: len(known_CSD), : known_CSD.shape[1]] = known_CSD
            own_C[: len(known_CSD)] = task.kept["aligner/own_C"].numpy()
        return prototype_CSD, own_C


def complement(own_D: Floats, old_BD: Doubles, new_BD: Doubles) -> Doubles:
    """Σ_n softmax_n(cos(own, old_n))·new_n: a prototype where there is no image, made from classes that are like it."""
    cosine_B = _unit(old_BD) @ _unit(own_D.astype(np.float64))
    weight_B = np.exp(cosine_B - cosine_B.max())
    return np.asarray(weight_B / weight_B.sum() @ new_BD)


def _complete(prototype_CSD: Floats, own_C: Ints) -> None:
    """Writes the prototypes of each class in the sub-spaces that came after its own."""
    for space in range(1, prototype_CSD.shape[1]):
        measured_BSD = prototype_CSD[own_C >= space].astype(np.float64)
        for column in np.flatnonzero(own_C < space):
            own = own_C[column]
            made_D = complement(prototype_CSD[column, own], measured_BSD[:, own], measured_BSD[:, space])
            prototype_CSD[column, space] = made_D


def normalised(features_NE: Floats, dimension: int) -> Floats:
    """Each sub-space of each feature brought to length √D, so that the mean square of its numbers is 1."""
    unit_NSD = _unit(np.asarray(features_NE, np.float32).reshape(len(features_NE), -1, dimension))
    return np.asarray(np.sqrt(dimension) * unit_NSD.reshape(len(features_NE), -1), np.float32)


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))
