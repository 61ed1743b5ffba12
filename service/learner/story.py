"""One claimed task, from its images to its versions: features, provisional, training, statistics, alignment, publish.

What is random is fixed with the task, and each phase either can be done again or left a checkpoint, so that a run which
is taken up again gives the bytes of one that was left alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from model import first_stage, learning
from model.backbones.backbone import PixelBackbone
from model.backbones.seen import OF_DRIFT, OF_STATISTICS, OTHER_VIEWS, PairedFeatures, Seen, Views
from model.block import Block, lay_out
from model.first_stage import Started
from model.method import TaskEnd
from model.methods import method_named
from model.pixels.preprocess import evaluation_view
from model.snapshot import Snapshot
from model.training.tuning import tune
from model.training.tuning_state import TuningState
from service.learner.bases import Base, load_base
from service.learner.checkpoints import Checkpoints
from service.learner.failures import Refusal
from service.learner.heldout import HeldOutImage, held_out
from service.learner.holdout import HeldBefore, split
from service.learner.judging import BackboneComparison, compare_backbones
from service.learner.looking import Features, Looking
from service.learner.pictures import TrainingPictures
from service.learner.plan import LearnPlan, make_plan
from service.learner.publishing import Publisher
from service.learner.reporter import Reporter, TrainingProgress
from service.learner.workshop import Workshop
from service.settings import Settings
from stream.failpoints import reach
from stream.tasks import Item, Phase, Task
from stream.versions import VersionKind

Weights = Mapping[str, Tensor]


class NothingToLearn(Refusal):
    """Every image of the task is held out."""


class NotOffered(Refusal):
    """The base was made by a method that this server may not learn with by its present settings."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What the claim fixed: the base, the plan, the images to learn from and their classes."""

    base: Base
    plan: LearnPlan
    trained: tuple[Item, ...]
    block: Block


class TaskRun:
    """The learning of one task by this process."""

    def __init__(self, workshop: Workshop, task: Task) -> None:
        self._workshop = workshop
        self._task = task
        self._ledger, self._blobs = workshop.ledger, workshop.blobs
        self._report = Reporter(workshop, task.id)

    def run(self) -> None:
        """Learn the task, publish its versions, finish it.

        Raises:
            Interrupted, LeaseLost, TaskStopped: told to stop; the task goes on elsewhere or not at all.
            Exception: whatever made it fail.
        """
        self._report.enter(Phase.FEATURES)
        lesson = self._lesson
        weights = lesson.base.snapshot.backbone
        if first_stage.needs_tuning(lesson.base.snapshot, lesson.block, lesson.plan.composition):
            # A provisional version does not wait for other views.
            seen = Seen(self._features(weights, self._trained))
            self._publish_provisional(seen)
            self._publish_final(seen)
        else:
            self._publish_on_standing_backbone(self._all_seen(weights, self._views & OF_STATISTICS), "final")
        self._ledger.finish(self._workshop.heartbeat.lease, self._task.id)
        reach("task.finished")

    @cached_property
    def _lesson(self) -> Lesson:
        begun = None if self._task.frozen is None else LearnPlan.from_json(self._task.frozen)
        base = load_base(self._ledger, self._blobs, self._workshop.settings, self._task.base, begun)
        _check_offered(base, self._workshop.settings)
        items = self._ledger.items(self._task.id)
        plan, items = (begun, items) if begun else self._frozen(base, items)
        trained = tuple(item for item in items if item.split != "held_out")
        if not trained:
            raise NothingToLearn(_why_nothing(items, held_out(self._ledger, base.version)))
        block = lay_out(base.snapshot, [item.label for item in trained], [item.label for item in items])
        return Lesson(base, plan, trained, block)

    def _frozen(self, base: Base, items: list[Item]) -> tuple[LearnPlan, list[Item]]:
        """The plan and the split, fixed now: this is the task's first claim."""
        digests = [item.pixel_digest for item in items]
        spec, method = base.snapshot.spec, base.snapshot.method
        root = spec if base.version is None else None
        plan = make_plan(self._workshop.settings, base.content, digests, method, spec.name, root)
        parts = split(items, self._held_before(base, digests), plan.holdout, plan.seed)
        splits = {item.id: part for item, part in zip(items, parts, strict=True)}
        self._ledger.freeze(self._workshop.heartbeat.lease, self._task.id, plan.to_json(), splits)
        return plan, self._ledger.items(self._task.id)

    def _held_before(self, base: Base, digests: Sequence[str]) -> HeldBefore:
        images = held_out(self._ledger, base.version)
        return HeldBefore(
            Counter(image.item.label for image in images),
            frozenset(image.item.pixel_digest for image in images),
            self._ledger.trained_on(frozenset(base.lineage), digests),
        )

    @cached_property
    def _looking(self) -> Looking:
        return Looking(
            self._workshop, self._lesson.base.snapshot.spec, self._lesson.plan.device, self._lesson.plan.threads
        )

    @cached_property
    def _trained(self) -> list[HeldOutImage]:
        """The images to learn from, under the task's id."""
        return [HeldOutImage(self._task.id, item) for item in self._lesson.trained]

    def _features(self, weights: Weights, images: Sequence[HeldOutImage]) -> Features:
        return self._looking.features(weights, images, self._report.at)[0]

    @property
    def _views(self) -> Views:
        return self._lesson.plan.composition.views

    def _all_seen(self, weights: Weights, views: Views, until: float = 1.0) -> Seen:
        """The images to learn from in their evaluation views and these; the phase is done up to `until` afterwards."""
        names = sorted(views)
        shown = [evaluation_view, *(OTHER_VIEWS[name] for name in names)]
        first_ND, *others = self._looking.features(
            weights, self._trained, lambda share: self._report.at(share * until), shown
        )
        return Seen(first_ND, dict(zip(names, others, strict=True)))

    def _seen_more(self, seen: Seen, views: Views, since: float) -> Seen:
        """What the base saw, with views that the provisional version did not wait for; the phase is done up to `since`
        before.
        """
        if not views:
            return seen
        names, weights = sorted(views), self._lesson.base.snapshot.backbone
        others = self._looking.features(
            weights,
            self._trained,
            lambda share: self._report.at(since + (1 - since) * share),
            [OTHER_VIEWS[name] for name in names],
        )
        return Seen(seen.features_ND, dict(zip(names, others, strict=True)))

    def _pair(self, seen: Seen, moved: Weights) -> PairedFeatures:
        """What the base saw and what the moved backbone sees, in all views that somebody will ask for."""
        later = self._views & (OF_DRIFT | OF_STATISTICS if self._is_compared else OF_DRIFT)
        through_new = 1 + len(self._views)
        since = through_new / (through_new + len(later))
        after = self._all_seen(moved, self._views, until=since)
        return PairedFeatures(self._seen_more(seen, later, since), after)

    def _publish_provisional(self, seen: Seen) -> None:
        made = [self._ledger.version(number) for number in self._task.versions]
        if not any(version.kind == "provisional" and version.state == "ready" for version in made):
            self._publish_on_standing_backbone(seen, "provisional")

    def _publish_on_standing_backbone(self, seen: Seen, kind: VersionKind) -> None:
        self._report.enter(Phase.PROVISIONAL)
        snapshot = self._standing(seen)
        if kind == "final":
            snapshot = self._with_memory(snapshot)
        self._publisher(snapshot).publish(snapshot, seen.features_ND, kind)

    def _standing(self, seen: Seen) -> Snapshot:
        """The block's classes on the base's backbone; the same whenever it is asked for."""
        lesson = self._lesson
        making = lesson.plan.making(self._report.check)
        return learning.provisional(lesson.base.snapshot, seen, lesson.block, making, task=self._task.id)

    def _with_memory(self, snapshot: Snapshot) -> Snapshot:
        """What the method keeps of a task that tuned nothing."""
        lesson = self._lesson
        method, base = lesson.plan.composition, lesson.base.snapshot
        if method.memory is None and method.regulariser is None:
            return snapshot
        network = first_stage.network_of(base, method, lesson.plan.device)
        positions_N = first_stage.positions(lesson.block, method)
        images = TrainingPictures(self._looking.pictures(self._trained), positions_N, base.spec)
        plan = lesson.plan.tuning(len(images))
        end = first_stage.standing_end(network, snapshot, base, lesson.block, images, method, plan)
        kept = first_stage.remembered(end, method)
        return replace(snapshot, kept={**snapshot.kept, **kept})

    def _tuned(self, network: PixelBackbone, started: Started) -> TuningState:
        """The slow learner's last state, from the last checkpoint on."""
        checkpoints = Checkpoints(self._workshop, self._task.id)
        resume = checkpoints.last()
        if resume is not None and resume.done:
            return resume
        progress = TrainingProgress(self._report, resume)
        state = tune(
            network,
            started.images,
            started.head,
            started.start.plan,
            stage=started.stage,
            resume=resume,
            on_step=progress,
            on_checkpoint=checkpoints.save,
        )
        progress.finish()
        return state

    def _publish_final(self, seen: Seen) -> None:
        lesson = self._lesson
        method, base = lesson.plan.composition, lesson.base.snapshot
        self._report.enter(Phase.TRAINING)
        network = first_stage.network_of(base, method, lesson.plan.device)
        positions_N = first_stage.positions(lesson.block, method)
        images = TrainingPictures(self._looking.pictures(self._trained), positions_N, base.spec)
        started = first_stage.start(network, base, lesson.block, images, method, lesson.plan.tuning(len(images)))
        state = self._tuned(network, started)
        self._report.enter(Phase.STATISTICS)
        moved = first_stage.settled(network, started, state, method)
        kept = first_stage.remembered(TaskEnd(network, state.head, images, started.start), method)
        pair = self._pair(seen, moved.plain)
        self._report.enter(Phase.ALIGNMENT)
        making = lesson.plan.making(self._report.check)
        snapshot = learning.final(base, moved, state.head, pair, lesson.block, making, task=self._task.id, kept=kept)
        chosen, comparison = pair.after, None
        if self._is_compared:
            self._report.check()
            on_standing = self._standing(pair.before)
            comparison = self._compared(snapshot, on_standing)
            if comparison is not None and not comparison.pays:
                snapshot, chosen = self._with_memory(on_standing), pair.before
        self._publisher(snapshot).publish(snapshot, chosen.features_ND, "final", comparison)

    @cached_property
    def _is_compared(self) -> bool:
        """Whether the moved backbone is held against the standing one: not where it always moves, or nothing judges."""
        lesson = self._lesson
        if lesson.plan.move_backbone == "always":
            return False
        return bool(held_out(self._ledger, lesson.base.version, self._task.id))

    def _compared(self, moved: Snapshot, standing: Snapshot) -> BackboneComparison | None:
        return compare_backbones(
            self._publisher(moved).answers(moved).correct_N(), self._publisher(standing).answers(standing).correct_N()
        )

    def _publisher(self, snapshot: Snapshot) -> Publisher:
        lesson = self._lesson
        return Publisher(
            workshop=self._workshop,
            report=self._report,
            task=self._task,
            base=lesson.base,
            seed=lesson.plan.seed,
            trained=self._trained,
            features_of=lambda images: self._features(snapshot.backbone, images),
            pictures_of=self._looking.pictures,
        )


def _why_nothing(items: Sequence[Item], earlier: Sequence[HeldOutImage]) -> str:
    """Why no image of the task is left to learn from: what an earlier task holds out goes on judging, whatever its
    label now.
    """
    told = "every image of the task is held out, so that none is left to learn from"
    held = {image.item.pixel_digest: image for image in earlier}
    again = [held[item.pixel_digest] for item in items if item.pixel_digest in held]
    if not again:
        return told
    first = f"task {again[0].task}, as {again[0].item.label!r}"
    return f"{told}: {len(again)} of {len(items)} are held out by earlier tasks already, the first by {first}"


def _check_offered(base: Base, settings: Settings) -> None:
    """A lineage keeps its method; what the settings allow may have changed since it began."""
    method = base.snapshot.method
    refusals = method_named(method).refusals(allow_images=settings.learn.allow_images)
    if base.version is not None and refusals:
        raise NotOffered(
            f"version {base.version.version} is of method {method}, which this server cannot offer: "
            f"{'; '.join(refusals)}; allow it (learn.allow_images) and retry, or learn on a version of another method"
        )
