"""Stage 1, the slow learner: backbone and head at learning rates of their own, under the loss of a `Stage`.

What is random depends only on (seed, epoch, image), so that a run resumed from a state goes on exactly as the
uninterrupted one.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model import paper
from model.backbones.backbone import PixelBackbone, Precision, autocast
from model.heads.head import Head
from model.training.stage import LabelledImages, Stage, Step
from model.training.threads import limited_threads
from model.training.training_views import TrainingViews
from model.training.tuning_state import EpochRecord, Running, TuningState

Ints = NDArray[np.int64]

MOMENTUM_BUFFER, KIND = "momentum_buffer", "#"
"""The optimiser's usual buffer, stored under the parameter's name alone; others follow the name after `#`."""

CHECKPOINT_SECONDS = 60.0
"""Longest time between two checkpoints, in seconds, but for one step."""


@dataclass(frozen=True)
class TuningPlan:
    """The settings of stage 1; rates fall by `gamma` at the start of each epoch in `milestones`, counted from 0.

    A method may have its own way to step (`Optimisation`).
    `max_minutes` limits the time by a number of epochs that is decided after the first one. `view_threads` make
    training views ready ahead of the network; they change no figure.
    """

    epochs: int = paper.EPOCHS
    batch_size: int = paper.BATCH
    micro_batch: int = paper.BATCH
    head_lr: float = paper.HEAD_RATE
    backbone_lr: float = paper.HEAD_RATE * paper.BACKBONE_RATIO
    momentum: float = paper.MOMENTUM
    weight_decay: float = paper.WEIGHT_DECAY
    milestones: tuple[int, ...] = (paper.MILESTONE,)
    gamma: float = paper.GAMMA
    precision: Precision = "fp32"
    augmentation: str = "crop_flip"
    seed: int = 0
    threads: int | None = None
    view_threads: int = 0
    max_minutes: float | None = None

    def rate_factor(self, epoch: int, epochs: int) -> float:
        """What both rates are multiplied by in this epoch; milestones move along where `epochs` is not the plan's."""
        reached = sum(epoch >= self._moved(milestone, epochs) for milestone in self.milestones)
        return float(self.gamma**reached)

    def _moved(self, milestone: int, epochs: int) -> int:
        return milestone if epochs == self.epochs else max(1, milestone * epochs // self.epochs)

    def epochs_within(self, epoch_seconds: float) -> int:
        """How many epochs of this length the limit allows, at least one and at most the plan's."""
        if self.max_minutes is None:
            return self.epochs
        return max(1, min(self.epochs, int(self.max_minutes * 60 / max(epoch_seconds, 1e-9))))


@dataclass(frozen=True)
class TuningProgress:
    """Where stage 1 stands after a micro-batch; `loss` and `accuracy` are means over the epoch so far.

    `epoch` counts from 0, `step` and `steps` over the whole run, `seconds` since this call of `tune` began.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    seconds: float


OnStep = Callable[[TuningProgress], None]
OnCheckpoint = Callable[[TuningState], None]


def tune(
    backbone: PixelBackbone,
    images: LabelledImages,
    head: Head,
    plan: TuningPlan,
    *,
    stage: Stage | None = None,
    resume: TuningState | None = None,
    on_step: OnStep = lambda progress: None,
    on_checkpoint: OnCheckpoint = lambda state: None,
    clock: Callable[[], float] = time.monotonic,
) -> TuningState:
    """Trains what the stage says moves, and the head; the last state, with all its epochs done.

    Without a stage that is everything of the backbone that requires gradients, under cross-entropy over the head.

    `on_step` is told after each micro-batch and may raise to stop; `on_checkpoint` gets a state at the end of each
    epoch and about once a minute. Raises ValueError without images.
    """
    if not len(images):
        raise ValueError("no images to learn from")
    start = resume or TuningState.start(backbone.state(), head, plan.epochs)
    run = _Run(backbone, images, start, plan, stage or Stage.of_moving(backbone))
    watch = _Watch(run, on_step, on_checkpoint, clock)
    with limited_threads(plan.threads):
        backbone.train()
        while run.epoch < run.epochs:
            batches = run.remaining_batches()
            with closing(run.views.prepared(run.epoch, batches)) as prepared:
                for batch_B in batches:
                    run.learn(batch_B, prepared, watch.told)
                    watch.checkpoint_if_due()
            run.finish_epoch()
            if run.epoch == 1:
                run.epochs = plan.epochs_within(watch.seconds_a_step() * run.steps_an_epoch)
            watch.checkpoint()
        backbone.eval()
    return run.state()


class _Run:
    """The moving parts: parameters, optimiser, and how far the run has come."""

    def __init__(
        self, backbone: PixelBackbone, images: LabelledImages, state: TuningState, plan: TuningPlan, stage: Stage
    ) -> None:
        self.plan, self.images, self.backbone, self.stage = plan, images, backbone, stage
        self.epoch, self.step, self.epochs = state.epoch, state.step, state.epochs
        self.history, self.running = state.history, state.running
        backbone.load(state.backbone)
        self._weight_CD = nn.Parameter(torch.tensor(state.head.weight_CD, device=backbone.device))
        self._bias_C = nn.Parameter(torch.tensor(state.head.bias_C, device=backbone.device))
        self.views = TrainingViews(
            images, backbone.spec, plan.augmentation, plan.seed, plan.view_threads, backbone.device
        )
        self._optimiser = self._new_optimiser()
        self._take_momentum(state.momentum)
        for number, penalty in enumerate(stage.penalties):
            if state.epoch or state.step:
                penalty.take(_under(f"{number}/", state.penalties))

    @property
    def steps_an_epoch(self) -> int:
        return -(-len(self.images) // self.plan.batch_size)

    def remaining_batches(self) -> list[Ints]:
        """The image indices of each step of this epoch that is still to do; rates become the epoch's."""
        order_N = np.random.default_rng([self.plan.seed, self.epoch]).permutation(len(self.images))
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate(group["full_lr"])
        size = self.plan.batch_size
        return [order_N[step * size : (step + 1) * size] for step in range(self.step, self.steps_an_epoch)]

    def learn(self, batch_B: Ints, prepared: Iterator[Any], told: Callable[[], None]) -> None:
        """One step of the optimiser, its gradient gathered micro-batch by micro-batch; takes what its views need."""
        self._optimiser.zero_grad(set_to_none=True)
        for start in range(0, len(batch_B), self.plan.micro_batch):
            part_B = batch_B[start : start + self.plan.micro_batch]
            self._gather(part_B, self.views.batch(prepared, len(part_B)), start, len(batch_B))
            told()
        if self.stage.optimisation.clip_norm is not None:
            nn.utils.clip_grad_norm_(list(self._trained().values()), self.stage.optimisation.clip_norm)
        self._optimiser.step()
        self.step += 1

    def _rate(self, full_lr: float) -> float:
        way = self.stage.optimisation
        if way.schedule == "constant":
            return full_lr
        if way.schedule == "cosine":
            floor_lr = self._milestone_floor() if way.floor_lr is None else way.floor_lr
            return floor_lr + (full_lr - floor_lr) * (1 + math.cos(math.pi * self.epoch / self.epochs)) / 2
        if way.schedule == "quarter_cosine":
            return full_lr * math.cos(math.pi / 2 * 0.99 * self.epoch / max(1, self.epochs - 1))
        return full_lr * self.plan.rate_factor(self.epoch, self.epochs)

    def _milestone_floor(self) -> float:
        return self._head_lr * paper.PLUS_FLOOR * self.plan.gamma ** len(self.plan.milestones)

    @property
    def _head_lr(self) -> float:
        way = self.stage.optimisation
        if way.lr_per_256 is not None:
            return way.lr_per_256 * self.plan.batch_size / 256
        return self.plan.head_lr if way.head_lr is None else way.head_lr

    def _gather(self, part_B: Ints, pixels_BHWC: Tensor, start: int, batch: int) -> None:
        device = self.backbone.device
        columns_B = torch.from_numpy(self.images.columns_N[part_B]).to(device)
        numbers = [self.plan.seed, self.epoch, self.step, start]
        with _seeded(device, numbers) as seed, autocast(self.backbone, self.plan.precision):
            features_BD = self.backbone(pixels_BHWC)
            logits_BC = nn.functional.linear(features_BD, self._weight_CD, self._bias_C)
            step = Step(
                self.backbone, self._weight_CD, self._bias_C, pixels_BHWC, columns_B, features_BD, logits_BC, seed
            )
            added = sum((penalty(step) for penalty in self.stage.penalties), start=torch.zeros((), device=device))
        loss = self.stage.loss(logits_BC, columns_B)
        total = self.stage.loss_weight * loss / batch + added.float() * len(part_B) / batch
        total.backward()  # type: ignore[no-untyped-call]
        correct = int((logits_BC.argmax(dim=1) == columns_B).sum())
        self.running = self.running.plus(float(loss.detach()), correct, len(part_B))

    def finish_epoch(self) -> None:
        self.history = (*self.history, EpochRecord(self.running.loss, self.running.accuracy))
        self.running, self.epoch, self.step = Running(), self.epoch + 1, 0

    def state(self) -> TuningState:
        """Everything that the rest of the run depends on, copied."""
        head = Head(self._weight_CD.detach().cpu().numpy().copy(), self._bias_C.detach().cpu().numpy().copy())
        momentum = {
            name + _suffix(kind): tensor.detach().cpu().clone()
            for name, parameter in self._trained().items()
            for kind, tensor in self._optimiser.state[parameter].items()
            if isinstance(tensor, Tensor)
        }
        penalties = {
            f"{number}/{name}": tensor
            for number, penalty in enumerate(self.stage.penalties)
            for name, tensor in penalty.state().items()
        }
        return TuningState(
            self.epoch,
            self.step,
            self.epochs,
            self.history,
            self.running,
            self.backbone.state(),
            head,
            momentum,
            penalties,
        )

    def _trained(self) -> dict[str, nn.Parameter]:
        moving = {id(parameter) for group in self.stage.groups for parameter in group.parameters}
        named = {f"backbone.{name}": p for name, p in self.backbone.named_parameters() if id(p) in moving}
        return {**named, "head.weight_CD": self._weight_CD, "head.bias_C": self._bias_C}

    def _new_optimiser(self) -> torch.optim.Optimizer:
        plan, way = self.plan, self.stage.optimisation
        head_lr = self._head_lr
        groups: list[dict[str, Any]] = [{"params": [self._weight_CD, self._bias_C], "full_lr": head_lr}]
        for group in self.stage.groups:
            rate = group.scale * (plan.backbone_lr if group.ratio is None else group.ratio * head_lr)
            if group.parameters:
                groups.append({"params": list(group.parameters), "full_lr": rate})
        decay = plan.weight_decay if way.weight_decay is None else way.weight_decay
        if way.optimiser == "adam":
            return torch.optim.Adam(groups, lr=head_lr, weight_decay=decay)
        return torch.optim.SGD(groups, lr=head_lr, momentum=plan.momentum, weight_decay=decay)

    def _take_momentum(self, momentum: dict[str, Tensor]) -> None:
        for name, parameter in self._trained().items():
            for stored, tensor in momentum.items():
                owner, _, kind = stored.partition(KIND)
                if owner == name:
                    where = "cpu" if kind == "step" else parameter.device
                    self._optimiser.state[parameter][kind or MOMENTUM_BUFFER] = tensor.to(where, copy=True)


class _Watch:
    """Tells the caller how the run goes, and keeps time."""

    def __init__(self, run: _Run, on_step: OnStep, on_checkpoint: OnCheckpoint, clock: Callable[[], float]) -> None:
        self._run, self._on_step, self._on_checkpoint, self._clock = run, on_step, on_checkpoint, clock
        self._began = self._saved = clock()
        self._first_step = run.step

    def told(self) -> None:
        run = self._run
        done, steps = run.epoch * run.steps_an_epoch + run.step + 1, run.epochs * run.steps_an_epoch
        seconds = self._clock() - self._began
        self._on_step(
            TuningProgress(run.epoch, run.epochs, done, steps, run.running.loss, run.running.accuracy, seconds)
        )

    def seconds_a_step(self) -> float:
        """Mean over the first epoch, or over what of it this call has done."""
        return (self._clock() - self._began) / max(1, self._run.steps_an_epoch - self._first_step)

    def checkpoint_if_due(self) -> None:
        if self._run.step < self._run.steps_an_epoch and self._clock() - self._saved >= CHECKPOINT_SECONDS:
            self.checkpoint()

    def checkpoint(self) -> None:
        self._on_checkpoint(self._run.state())
        self._saved = self._clock()


@contextmanager
def _seeded(device: torch.device, numbers: list[int]) -> Iterator[int]:
    """Dropout and the like draw from these numbers alone, and leave torch's own state untouched."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
        torch.manual_seed(seed)
        yield seed


def _suffix(kind: str) -> str:
    return "" if kind == MOMENTUM_BUFFER else KIND + kind


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
