"""Dark experience replay: a reservoir of images with what the network said of them when they were stored."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.backbones.features import features_of
from model.memories.album import Album
from model.memories.selection import BUFFER, reservoir
from model.method import TaskEnd, TaskStart
from model.training.stage import LabelledImages, Penalty, Step, Tensors


@dataclass(frozen=True, eq=False)
class Experience:
    """An album, the logits of each picture (zeros behind those that were said), how many those are, and images seen."""

    album: Album
    logits_NC: NDArray[np.float32]
    said_N: NDArray[np.int64]
    seen: int

    @classmethod
    def from_tensors(cls, kept: Tensors) -> "Experience":
        """The experience that `to_tensors` wrote; none of nothing."""
        if "seen" not in kept:
            return cls(Album.empty(), np.zeros((0, 0), np.float32), np.zeros(0, np.int64), 0)
        return cls(
            Album.from_tensors(kept), kept["logits_NC"].numpy(), kept["said_N"].numpy(), int(kept["seen"].item())
        )

    def to_tensors(self) -> dict[str, Tensor]:
        """The tensors to keep."""
        return {
            **self.album.to_tensors(),
            "logits_NC": torch.from_numpy(self.logits_NC.copy()),
            "said_N": torch.from_numpy(self.said_N.copy()),
            "seen": torch.tensor(self.seen),
        }


def stored_difference(logits_BC: Tensor, stored_BC: Tensor, said_B: Tensor) -> Tensor:
    """The mean square of logits − stored over the entries that were stored; later classes do not count."""
    known_BC = torch.arange(stored_BC.shape[1], device=said_B.device) < said_B[:, None]
    difference_BC = (logits_BC[:, : stored_BC.shape[1]].float() - stored_BC) * known_BC
    return difference_BC.square().sum() / known_BC.sum()


@dataclass(eq=False)
class ReplayPenalty:
    """α·(stored logits of x′) + β·CE(x″, y″), x′ and x″ drawn anew for each micro-batch, as many as it has images."""

    experience: Experience
    alpha: float
    beta: float
    augmentation: str
    loss_weight: float = 1.0

    def __call__(self, step: Step) -> Tensor:
        """A scalar; all that is drawn comes from `step.seed`."""
        rng = np.random.default_rng(step.seed)
        dark_B, labelled_B = (rng.integers(len(self.experience.album), size=len(step.columns_B)) for _ in "αβ")
        stored_BC = self._here(self.experience.logits_NC[dark_B], step)
        said_B = self._here(self.experience.said_N[dark_B], step)
        columns_B = self._here(self.experience.album.columns_N[labelled_B], step)
        dark = stored_difference(self._logits(dark_B, rng, step), stored_BC, said_B)
        return self.alpha * dark + self.beta * nn.functional.cross_entropy(
            self._logits(labelled_B, rng, step).float(), columns_B
        )

    def _logits(self, rows_B: NDArray[np.int64], rng: np.random.Generator, step: Step) -> Tensor:
        views_BHWC = self.experience.album.views(rows_B, step.backbone.spec, self.augmentation, rng)
        return step.logits_of(views_BHWC.to(step.backbone.device))

    @staticmethod
    def _here(array: NDArray[np.generic], step: Step) -> Tensor:
        return torch.from_numpy(array).to(step.backbone.device)

    def state(self) -> dict[str, Tensor]:
        """Nothing: the buffer stands still during a task."""
        return {}

    def take(self, state: Tensors) -> None:
        """Nothing to take."""


@dataclass(frozen=True)
class DarkExperience:
    """DER++ (method.md 4): CE + α·(stored logits) + β·CE on a reservoir of `capacity` images, for scope `seen`.

    The source fills its reservoir step by step with what the network says in passing. Here a task is seen many times
    and in full, so its images enter once, when it ends, with what the trained network says of their evaluation views:
    during a task only earlier tasks are replayed.
    """

    alpha: float = 0.3
    beta: float = 0.5
    capacity: int = field(default=BUFFER)

    def lesson(self, kept: Tensors, start: TaskStart) -> LabelledImages:
        """The task's own images."""
        return start.images

    def begin(self, kept: Tensors, start: TaskStart) -> Penalty | None:
        """Replay, once something was kept."""
        experience = Experience.from_tensors(kept)
        if not len(experience.album):
            return None
        return ReplayPenalty(experience, self.alpha, self.beta, start.plan.augmentation)

    def finish(self, kept: Tensors, end: TaskEnd) -> Tensors:
        """The reservoir after this task."""
        start, before = end.start, Experience.from_tensors(kept)
        rng = np.random.default_rng([start.plan.seed, start.block.number])
        rows_N = reservoir(len(before.album), before.seen, len(end.images), self.capacity, rng)
        said_NC = end.head.logits(features_of(end.network, end.images, start.plan))
        both = before.album.plus(Album.of(end.images, start.block.image_columns_N, end.network.spec))
        longer_NC = np.pad(before.logits_NC, ((0, 0), (0, said_NC.shape[1] - before.logits_NC.shape[1])))
        said_N = np.concatenate([before.said_N, np.full(len(said_NC), said_NC.shape[1])])
        logits_NC = np.concatenate([longer_NC, said_NC])
        return Experience(
            both.rows(rows_N), logits_NC[rows_N], said_N[rows_N], before.seen + len(end.images)
        ).to_tensors()

    def without(self, kept: Tensors, column: int) -> Tensors:
        """The reservoir without the class's images, and what was said of the others without its column.

        One that has room again goes on as if it had seen no more than it holds.
        """
        before = Experience.from_tensors(kept)
        album, rows_N = before.album.without(column)
        said_N, known = before.said_N[rows_N], [column] if column < before.logits_NC.shape[1] else []
        seen = before.seen if len(album) == len(before.album) else len(album)
        logits_NC = np.delete(before.logits_NC[rows_N], known, axis=1)
        return Experience(album, logits_NC, said_N - (said_N > column), seen).to_tensors()
