"""Weights averaged over tasks: what a task changed is taken back in part (CoMA, CoFiMA).

Each parameter for itself, so that it is for tuners whose parameters are weights that go on from task to task.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.method import Averaged, TaskEnd
from model.training.fisher import squared_gradients
from model.training.stage import Tensors


@dataclass(frozen=True)
class EvenAveraging:
    """After each task the weights are `weight` of the tuned ones and the rest of those before (CoMA)."""

    weight: float = 0.5

    def settle(self, kept: Tensors, before: Tensors, end: TaskEnd) -> Averaged:
        """The mixture; nothing is kept."""
        return Averaged(self.mixed(before, end.network.state()))

    def mixed(self, before: Tensors, tuned: Tensors) -> dict[str, Tensor]:
        """The mixture, name by name; what is no floating number, or new, is the tuned one's."""
        return {
            name: before[name].lerp(tensor, self.weight) if name in before and tensor.is_floating_point() else tensor
            for name, tensor in tuned.items()
        }


@dataclass(frozen=True)
class FisherAveraging:
    """θ* = (λF·θ + (1 − λ)F₀·θ₀)/(λF + (1 − λ)F₀), weight by weight, from the second task on (CoFiMA).

    λ is `weight`, θ and F are the tuned weights and the squared gradients of this task's loss, θ₀ and F₀ those of the
    last one that tuned; F, at most `ceiling`, is all that is kept: as many numbers as move. A weight that neither loss
    depends on is mixed λ to 1 − λ.
    """

    weight: float = 0.5
    ceiling: float = 1e-4

    def settle(self, kept: Tensors, before: Tensors, end: TaskEnd) -> Averaged:
        """The mixture and F; the tuned weights after the first task."""
        importance, tuned = squared_gradients(end, self.ceiling), end.network.state()
        if not kept or not importance:
            return Averaged(tuned, importance or kept)
        return Averaged(self.mixed(before, tuned, kept, importance), importance)

    def mixed(self, before: Tensors, tuned: Tensors, old: Tensors, new: Tensors) -> dict[str, Tensor]:
        """The mixture by importances `old` and `new`, name by name; what is new is the tuned one's."""
        return {
            name: before[name].lerp(tensor, self._share(old[name], new[name]))
            if name in before and name in old and name in new
            else tensor
            for name, tensor in tuned.items()
        }

    def _share(self, old: Tensor, new: Tensor) -> Tensor:
        """The tuned weights' part, between 0 and 1."""
        ours, theirs = self.weight * new, (1 - self.weight) * old
        total = ours + theirs
        return torch.where(total > 0, ours / total, self.weight)
