"""Stage 1 of one task: what a method trains, on what and how, and what it leaves for the version to come."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.backbones.backbone import PixelBackbone, build
from model.block import Block, starting_head
from model.heads.head import Head
from model.method import Apart, Method, TaskEnd, TaskStart, filed, slot
from model.snapshot import Snapshot
from model.training.stage import LabelledImages, Penalty, Stage, Tensors
from model.training.tuning import TuningPlan
from model.training.tuning_state import TuningState

Ints = NDArray[np.int64]


def network_of(snapshot: Snapshot, method: Method, device: str = "cpu") -> PixelBackbone:
    """The snapshot's network, equipped by the method's tuner, in evaluation mode."""
    network = build(snapshot.spec)
    network.load(snapshot.backbone)
    method.tuner.equip(network, slot(snapshot.kept, "tuner"))
    return network.to(device).eval()


def needs_tuning(base: Snapshot, block: Block, method: Method) -> bool:
    """Whether stage 1 has anything to tell apart, two classes of the block, or of all where the loss sees all; and
    anyone who reads what it changes.
    """
    tells_apart = block.class_count > 1 if method.scope == "seen" else block.needs_tuning
    return tells_apart and method.learns(base.next_tuning)


def positions(block: Block, method: Method) -> Ints:
    """Where in the head that stage 1 trains each image's class stands."""
    return block.image_positions_N if method.scope == "block" else block.image_columns_N


def standing_end(
    network: PixelBackbone,
    snapshot: Snapshot,
    base: Snapshot,
    block: Block,
    images: LabelledImages,
    method: Method,
    plan: TuningPlan,
) -> TaskEnd:
    """The end of a task whose classes were learned on the base's backbone: `snapshot` has their rows.

    `images` are the task's, their columns being `positions(block, method)`.
    """
    head = snapshot.unaligned
    if method.scope == "block":
        head = head.rows(block.columns_B)
    begun = TaskStart(network, head, base, block, images, plan, _told_apart(block, method))
    return TaskEnd(network, head, images, begun, tuned=False)


@dataclass(frozen=True, eq=False)
class Started:
    """A task on its way: what stage 1 trains, on what, how; `before` are the network's weights until now."""

    start: TaskStart
    images: LabelledImages
    stage: Stage
    before: Tensors

    @property
    def head(self) -> Head:
        """The head before the first step."""
        return self.start.head


def start(
    network: PixelBackbone, base: Snapshot, block: Block, images: LabelledImages, method: Method, plan: TuningPlan
) -> Started:
    """What stage 1 of this method does with a task; `network` is the base's and gets what the tuner adds.

    `images` are the task's, their columns being `positions(block, method)`.
    """
    head, told_apart_B = _head_to_train(base, block, method, plan.seed), _told_apart(block, method)
    begun = TaskStart(network, head, base, block, images, plan, told_apart_B)
    penalties = [_memory_penalty(method, begun), _regulariser_penalty(method, begun)]
    lesson = images if method.memory is None else method.memory.lesson(slot(base.kept, "memory"), begun)
    before = network.state()
    method.tuner.begin(network, base.next_tuning, plan.seed)
    penalties.append(method.tuner.penalty(network))
    pace = method.pace(base.next_tuning)
    stage = Stage(
        [replace(group, scale=group.scale * pace) for group in method.tuner.groups(network, base.next_tuning)],
        method.objective,
        told_apart_B,
        [penalty for penalty in penalties if penalty is not None],
        method.optimisation,
    )
    return Started(begun, lesson, stage, before)


def settled(network: PixelBackbone, started: Started, state: TuningState, method: Method) -> Apart:
    """The weights that the final version gets: stage 1's, averaged with those before where the method says so.

    The network holds them afterwards.
    """
    network.load(state.backbone)
    network.eval()
    if method.averaging is None:
        return method.tuner.taken_apart(network)
    begun = started.start
    end = TaskEnd(network, state.head, begun.images, begun)
    averaged = method.averaging.settle(slot(begun.base.kept, "averaging"), started.before, end)
    network.load(averaged.weights)
    return replace(method.tuner.taken_apart(network), averaged=averaged.kept)


def remembered(end: TaskEnd, method: Method) -> dict[str, Tensor]:
    """What regulariser and memory keep of the task, by slot."""
    kept = end.start.base.kept
    found: dict[str, Tensor] = {}
    if method.regulariser is not None:
        found |= filed("regulariser", method.regulariser.finish(slot(kept, "regulariser"), end))
    if method.memory is not None:
        found |= filed("memory", method.memory.finish(slot(kept, "memory"), end))
    return found


def _head_to_train(base: Snapshot, block: Block, method: Method, seed: int) -> Head:
    rows = starting_head(base, block, seed)
    if method.scope == "block":
        return rows
    return base.unaligned.grown(block.class_count).with_rows(block.columns_B, rows)


def _told_apart(block: Block, method: Method) -> Ints | None:
    return block.columns_B if method.scope == "rows" else None


def _memory_penalty(method: Method, begun: TaskStart) -> Penalty | None:
    return None if method.memory is None else method.memory.begin(slot(begun.base.kept, "memory"), begun)


def _regulariser_penalty(method: Method, begun: TaskStart) -> Penalty | None:
    if method.regulariser is None:
        return None
    return method.regulariser.begin(slot(begun.base.kept, "regulariser"), begun)
