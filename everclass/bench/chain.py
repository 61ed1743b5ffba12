"""One seed of methods that share stage 1: tasks learned one after the other, every method's head judged after each.

Methods that differ only in what they do with heads and statistics see the same network and the same un-aligned rows, so
that one run of the slow learner serves them all. Where a class of a one-class task comes again, its row starts from the
first method's statistics.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import add
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from everclass.bench.course import LATER_TASK, Course, Decoded
from everclass.bench.kept_features import features_file, keep
from everclass.bench.measures import Hindsight, Measure
from everclass.bench.progress import Checkpoint, ProgressFolder, Reached
from everclass.bench.recipe import Training
from everclass.bench.results import MEASURING, Result
from everclass.bench.scoring import Scores, TestFeatures
from everclass.bench.watch import Watch, of_method
from model.backbones.backbone import PixelBackbone, build
from model.backbones.features import features_of
from model.continual import Told, Tuned, finished, tune_task
from model.method import Method, slot
from model.snapshot import Snapshot
from model.statistics.class_statistics import NotFinite
from model.training.tuning import TuningProgress
from model.training.tuning_state import TuningState

OnJudged = Callable[[int, Tuned, Mapping[str, Snapshot], TestFeatures], None]
"""From a task's number, what stage 1 made of it, each method's snapshot after it, and all test images so far."""


@dataclass(frozen=True)
class Listener:
    """Whom a chain tells of its way: `on_task` gets the task's number and each method's accuracy so far, `on_notice`
    what somebody should know who waits for it. `on_judged` gets all that a task is judged by, so that others may judge
    too; no method pays for the time that they take.
    """

    on_step: Callable[[int, TuningProgress], None] = lambda task, progress: None
    on_phase: Callable[[int, str], None] = lambda task, phase: None
    on_task: Callable[[int, Mapping[str, float]], None] = lambda task, accuracy: None
    on_notice: Callable[[str], None] = lambda text: None
    on_judged: OnJudged = lambda task, tuned, snapshots, test: None


@dataclass(frozen=True)
class Extras:
    """What a chain does beside judging: `unknown` scores images of classes to come, `features` is a folder where each
    task's features and un-aligned head are kept, for experiments with heads and statistics that learn nothing again,
    and `origin` what they say of themselves; `measures` judge the representation and the statistics by all images so
    far.
    """

    unknown: bool = False
    features: Path | None = None
    measures: tuple[Measure, ...] = ()
    origin: str = ""

    @property
    def asked(self) -> frozenset[str]:
        """What a line must have figures of, as `Result.measured` names it."""
        return frozenset(self.measures) | ({"unknown"} if self.unknown else set())


def stem(method: Method) -> tuple[Method, bool]:
    """The method without what comes after stage 1, and whether it needs stage 1 where no weight moves: those with equal
    stems share it.

    A lone class's row comes of the statistics; where stage 1 reads the rows of earlier tasks, what makes these comes
    before it, too.
    """
    alike = replace(method, aligner=None)
    if method.scope == "block":
        alike = replace(alike, drift=None, views=frozenset())
    return alike, method.learns(LATER_TASK)


class Chain:
    """The run of one or more methods with one stem over a course.

    A method whose head cannot be made, or judged, drops out; `failed` says why, by name, and the others go on.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        course: Course,
        training: Training,
        weights: Mapping[str, Tensor],
        folder: ProgressFolder,
        listener: Listener,
        extras: Extras | None = None,
    ) -> None:
        self.failed: dict[str, str] = {}
        self._methods = {name: training.adjusted(method) for name, method in methods.items()}
        self._lead = next(iter(self._methods))
        views = frozenset(name for method in self._methods.values() for name in method.views)
        self._stem = replace(self._methods[self._lead], views=views)
        self._course = course.as_one() if self._stem.joint else course
        self._training, self._folder, self._listener = training, folder, listener
        self._extras = extras or Extras()
        dimension = build(training.spec).feature_dim
        self._root = Snapshot.root(training.spec, weights, dimension, self._lead)
        self._test_features: dict[int, NDArray[np.float32]] = {}

    def run(self) -> dict[str, Result]:
        """All tasks that are still to do; the result of each method that did not fail, by name.

        Raises NotFinite where stage 1 diverged.
        """
        reached = self._folder.last() or Reached(0, {}, {"seconds": {}, "peak_bytes": {}, "methods": {}})
        snapshots = dict(reached.snapshots) or dict.fromkeys(self._methods, self._root)
        self.failed = dict(reached.scores.get("failed", {}))
        scores = {name: Scores.from_json(reached.scores["methods"].get(name, {})) for name in self._methods}
        with Watch(self._training.device) as watch:
            watch.seconds.update(reached.scores["seconds"])
            watch.peak_bytes.update(reached.scores["peak_bytes"])
            for number in range(reached.tasks, len(self._course.lessons)):
                tuned, snapshots = self._learn(number, snapshots, watch)
                self._judge(number, tuned, snapshots, scores, watch)
                # It holds the task's decoded pictures.
                del tuned
                watch.enter(None)
                if not self._standing:
                    break
                left = {name: snapshots[name] for name in self._standing}
                self._folder.save(Reached(number + 1, left, _stored(scores, watch) | {"failed": self.failed}))
        return {name: self._result(name, snapshots[name], scores[name], watch) for name in self._standing}

    @property
    def _standing(self) -> dict[str, Method]:
        return {name: method for name, method in self._methods.items() if name not in self.failed}

    @property
    def _leading(self) -> str:
        """Whose snapshot a task begins from: all that stand have the same weights and un-aligned rows."""
        return next(iter(self._standing))

    @contextmanager
    def _in_its_name(self, name: str, number: int) -> Iterator[None]:
        """What goes wrong with the numbers of one method's head is its own failure."""
        try:
            yield
        except NotFinite as error:
            self.failed[name] = f"training diverged: {error}"
        except np.linalg.LinAlgError as error:
            self.failed[name] = f"its head could not be made or judged after task {number + 1}: {error}"

    def _learn(self, number: int, snapshots: Mapping[str, Snapshot], watch: Watch) -> tuple[Tuned, dict[str, Snapshot]]:
        task, plan = self._course.lessons[number], self._training.plan(self._course.seed, number)

        def phase(name: str) -> None:
            watch.enter(name)
            self._listener.on_phase(number, name)

        def checkpoint(state: TuningState) -> None:
            watch.lap()
            self._folder.save_epoch(number, Checkpoint(state, watch.seconds, watch.peak_bytes))

        resume = self._folder.epoch(number)
        if resume is not None:
            # Epochs are not learned again; the phases before them are, and count as they are done again.
            watch.seconds["training"] = resume.seconds["training"]
            watch.peak_bytes.update(resume.peak_bytes)
        told = Told(
            on_phase=phase,
            on_step=lambda progress: self._listener.on_step(number, progress),
            on_checkpoint=checkpoint,
        )
        tuned = tune_task(
            snapshots[self._leading],
            Decoded(task.train),
            self._course.labels(task.train),
            self._stem,
            plan,
            root=self._root,
            device=self._training.device,
            resume=None if resume is None else resume.state,
            told=told,
        )
        if not _stands(tuned, snapshots[self._leading]):
            self._test_features.clear()
        phase("alignment")
        device = self._training.device
        made = {}
        for name, method in self._standing.items():
            watch.enter(f"alignment/{name}")
            with self._in_its_name(name, number):
                made[name] = finished(snapshots[name], tuned, method, plan, task=task.name, device=device)
        return tuned, made

    def _judge(
        self,
        number: int,
        tuned: Tuned,
        snapshots: Mapping[str, Snapshot],
        scores: Mapping[str, Scores],
        watch: Watch,
    ) -> None:
        watch.enter("evaluation")
        self._listener.on_phase(number, "evaluation")
        test = self._features(number, tuned.network)
        found = {}
        for name, method in self._standing.items():
            watch.enter(f"evaluation/{name}")
            with self._in_its_name(name, number):
                found[name] = scores[name].add(snapshots[name], method, test, self._course.seed)
        if not self._standing:
            return
        if self._extras.features is not None:
            file = features_file(self._extras.features, self._lead, self._course.seed, number)
            keep(file, tuned, snapshots[self._leading], test, self._extras.origin)
        if self._extras.measures:
            watch.enter(MEASURING)
            self._listener.on_phase(number, MEASURING)
            self._measure(number, tuned.network, snapshots, test, scores)
        watch.enter(None)
        self._listener.on_judged(number, tuned, snapshots, test)
        self._listener.on_task(number, found)

    def _measure(
        self,
        number: int,
        network: PixelBackbone,
        snapshots: Mapping[str, Snapshot],
        test: TestFeatures,
        scores: Mapping[str, Scores],
    ) -> None:
        """The probe is the representation's, so that all methods of the chain share it."""
        plan, lead = self._training.plan(self._course.seed, number), snapshots[self._leading]
        views = self._stem.views if "oracle" in self._extras.measures else frozenset()
        hindsight = Hindsight.after(number, self._course, network, lead, test, plan, views)
        probe = hindsight.probe(lead) if "probe" in self._extras.measures else None
        for name, method in self._standing.items():
            if probe is not None:
                scores[name].probe.append(probe)
            if "oracle" in self._extras.measures:
                with self._in_its_name(name, number):
                    scores[name].oracle.append(hindsight.oracle(snapshots[name], method))

    def _features(self, number: int, network: PixelBackbone) -> TestFeatures:
        """Test images of the tasks so far, and of classes that come later, through the network as it is now."""
        tasks, plan = self._course.lessons, self._training.plan(self._course.seed, number)
        known = {one for task in tasks[: number + 1] for one in task.classes}
        later = [place for place, task in enumerate(tasks) if self._extras.unknown and not known & set(task.classes)]
        for place in (*range(number + 1), *later):
            if place not in self._test_features:
                self._test_features[place] = features_of(network, tasks[place].test, plan)
        seen = [self._test_features[place] for place in range(number + 1)]
        return TestFeatures(
            seen,
            [self._course.labels(task.test) for task in tasks[: number + 1]],
            np.concatenate([seen[0][:0], *(self._test_features[place] for place in later)]),
        )

    def _result(self, name: str, snapshot: Snapshot, scores: Scores, watch: Watch) -> Result:
        matrix = scores.matrix()
        several = len(self._course.lessons) > 1
        return Result(
            method=name,
            protocol=self._course.protocol,
            seed=self._course.seed,
            last_acc=matrix.last,
            inc_acc=matrix.incremental if several else None,
            task_mean=matrix.task_mean,
            forgetting=matrix.forgetting,
            backward_transfer=matrix.backward_transfer,
            curve=[float(one) for one in matrix.overall_T],
            matrix=[[float(one) for one in row[: k + 1]] for k, row in enumerate(matrix.accuracy_TT)],
            test_images=scores.images,
            train_images=[len(task.train) for task in self._course.lessons],
            seconds={phase: round(value, 2) for phase, value in of_method(watch.seconds, name, add).items()},
            peak_bytes={phase: int(value) for phase, value in of_method(watch.peak_bytes, name, max).items()},
            kept_bytes=sum(tensor.numel() * tensor.element_size() for tensor in snapshot.kept.values()),
            statistics_bytes=sum(array.nbytes for array in snapshot.statistics.to_arrays().values()),
            calibration_error=scores.calibration_error,
            novelty_auroc=scores.novelty_auroc,
            probe=scores.probe,
            oracle=scores.oracle,
            configuration=self._training.describe(),
        )


def _stored(scores: Mapping[str, Scores], watch: Watch) -> dict[str, object]:
    return {
        "seconds": dict(watch.seconds),
        "peak_bytes": dict(watch.peak_bytes),
        "methods": {name: one.to_json() for name, one in scores.items()},
    }


def _stands(tuned: Tuned, base: Snapshot) -> bool:
    """Whether the network computes the features of the one that the task began with."""
    if tuned.moved is None:
        return True
    before, after = {**base.backbone, **slot(base.kept, "tuner")}, {**tuned.moved.plain, **tuned.moved.kept}
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name].cpu()) for name in after)
