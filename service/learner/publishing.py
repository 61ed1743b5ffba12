"""From a snapshot to a version: calibrate, judge, store, prove that it loads and answers right, publish."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays

from model.judging.agreement import FEWEST_IMAGES
from model.judging.gate import GateLimits
from model.runtime import RuntimeKind, machine_type
from model.scores.calibration import fitting_half
from model.scores.confidence import CalibrationReport, HeldOut, calibrated
from model.snapshot import Snapshot
from service.learner.bases import Base
from service.learner.forebears import forebears_of
from service.learner.graphs import Graph, graph_of
from service.learner.heldout import FeatureCache, HeldOutImage, balanced, held_out
from service.learner.judging import Answers, BackboneComparison, Judgement, judge
from service.learner.pictures import Pictures
from service.learner.proving import Proof, Question, proven
from service.learner.reporter import Reporter
from service.learner.runtimes import Reference, runtime_for, serve_with
from service.learner.workshop import Workshop
from stream.failpoints import reach
from stream.ledger import Wanted
from stream.manifest import Manifest, Part, store_version
from stream.tasks import Phase, Task
from stream.versions import TaskAccuracy, VersionClass, VersionDraft, VersionKind

PROVEN_IMAGES = 32
"""Images on which a stored version must answer as the learner does before it may serve."""
PRELOAD_WAIT_S = 2.0
"""How long services get to load a candidate before it is published without waiting."""

Features = NDArray[np.float32]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Publisher:
    """Publishes the versions of one task; `trained` are its training images, under the ids of their tasks."""

    workshop: Workshop
    report: Reporter
    task: Task
    base: Base
    seed: int
    trained: Sequence[HeldOutImage]
    features_of: Callable[[Sequence[HeldOutImage]], Features]
    pictures_of: Callable[[Sequence[HeldOutImage]], Pictures]

    def answers(self, snapshot: Snapshot) -> Answers:
        """The snapshot on the held-out images, before it is a version."""
        return _answers(snapshot, *self._held_out(snapshot))

    def publish(
        self,
        snapshot: Snapshot,
        trained_ND: Features,
        kind: VersionKind,
        comparison: BackboneComparison | None = None,
    ) -> None:
        """Make `snapshot` a version; `trained_ND` are the training images through its backbone, `comparison` says why
        it is that backbone.

        Raises:
            Interrupted, LeaseLost, TaskStopped: the work is to stop.
            StorageFull: there is no room for the version.
        """
        # What a provisional version needs happens early in the whole, whatever the phases are called.
        early = Phase.PROVISIONAL if kind == "provisional" else None
        self.report.enter(Phase.EVALUATION, share_of=early)
        images, held_ND = self._held_out(snapshot)
        snapshot, calibration = calibrated(snapshot, _half(snapshot, images, held_ND), seed=self.seed)
        judgement = self._judged(snapshot, images, held_ND, kind)
        self.report.enter(Phase.PUBLISHING, share_of=early)
        self._store_and_publish(
            _Candidate(snapshot, kind, judgement, calibration, comparison, images, held_ND, trained_ND)
        )

    def _held_out(self, snapshot: Snapshot) -> tuple[list[HeldOutImage], Features]:
        known = set(snapshot.labels)
        mine = held_out(self.workshop.ledger, self.base.version, self.task.id)
        found = [image for image in mine if image.item.label in known]
        images = balanced(found, self.workshop.settings.gate.max_images)
        digest = seen_through(snapshot)
        features_ND = FeatureCache(self.workshop.cache / "features").features(
            digest,
            [image.item.pixel_digest for image in images],
            lambda indices: self.features_of([images[index] for index in indices]),
        )
        return images, features_ND

    def _judged(
        self, snapshot: Snapshot, images: Sequence[HeldOutImage], held_ND: Features, kind: VersionKind
    ) -> Judgement:
        settings = self.workshop.settings.gate
        answers = _answers(snapshot, images, held_ND)
        limits = GateLimits(settings.base_fall, settings.lineage_fall, settings.standard_errors, settings.strict)
        forebears = forebears_of(self.workshop, self.base, self.task.id, final=kind == "final")
        return judge(answers, forebears, limits, enabled=settings.enabled)

    def _store_and_publish(self, candidate: "_Candidate") -> None:
        snapshot, judgement = candidate.snapshot, candidate.judgement
        graph = graph_of(self.workshop, snapshot.spec)
        parts = snapshot.to_parts()
        runtime = self._runtime(candidate, graph, parts["backbone"])
        parts |= {"graph": graph.data, "judged": judgement.correct_bytes()}
        manifest = self._manifest(candidate, graph, parts)
        store_version(self.workshop.blobs, manifest, parts)
        reach("version.stored")
        self.report.at(0.6)
        proof = proven(self.workshop, manifest, runtime, self._question(candidate))
        wanted, reason = self._verdict(candidate, proof, runtime)
        serving = self._serving(proof, runtime)
        if serving != runtime:
            log.warning("%s: %s serves it", proof.trouble, serving)
            serve_with(self.workshop, graph.key, manifest.digest, serving)
        draft = VersionDraft(
            kind=candidate.kind,
            digest=manifest.digest,
            size_bytes=manifest.size_bytes,
            parts=tuple(part.sha256 for part in manifest.parts.values()),
            classes=manifest.classes,
            accuracy=judgement.accuracy,
            accuracy_per_task=tuple(TaskAccuracy(**row) for row in judgement.accuracy_per_task),
            forgetting=judgement.forgetting,
            calibration_error=candidate.calibration.calibration_error,
            gate=candidate.gate(),
            runtime=serving,
            reason=reason,
            note=self.task.note,
        )
        if wanted == "serve":
            self._let_services_load(manifest.digest)
        reach("publish.before")
        self.workshop.ledger.publish(self.workshop.heartbeat.lease, self.task.id, draft, wanted=wanted)
        reach("publish.after")

    def _manifest(self, candidate: "_Candidate", graph: Graph, parts: dict[str, bytes]) -> Manifest:
        snapshot = candidate.snapshot
        return Manifest(
            kind=candidate.kind,
            task=self.task.id,
            lineage=(*self.base.lineage, self.task.id),
            classes=tuple(VersionClass(one.label, one.since, one.images) for one in snapshot.classes),
            description=snapshot.describe() | {"graph_key": graph.key},
            parts={role: Part.of(data) for role, data in parts.items()},
        )

    def _question(self, candidate: "_Candidate") -> Question | None:
        images, features_ND = candidate.some(self.trained, PROVEN_IMAGES)
        if not images:
            return None
        views = list(self.pictures_of(images).views(candidate.snapshot.spec))
        return Question(np.stack(views), candidate.snapshot.aligned.logits(features_ND))

    def _verdict(self, candidate: "_Candidate", proof: Proof, runtime: RuntimeKind) -> tuple[Wanted, str | None]:
        """What shall become of the version, and why it shall not serve where it shall not."""
        if proof.runtime is None:
            return "damaged", proof.trouble
        if proof.runtime != runtime and self.workshop.settings.serve.runtime != "auto":
            return "hold", f"{proof.trouble}, and serve.runtime asks for it"
        report, gate = candidate.judgement.report, self.workshop.settings.gate
        if not report.passes(strict=gate.strict and gate.enabled):
            return "hold", report.reason or "too few held-out images to judge it (gate.strict)"
        if (self.task.promote or self.workshop.settings.promote) == "manual":
            return "hold", "to be promoted by a person"
        return "serve", None

    def _serving(self, proof: Proof, runtime: RuntimeKind) -> RuntimeKind:
        """What serves the version here, or would if it were promoted: the settings' wish stands, a choice gives way."""
        return runtime if self.workshop.settings.serve.runtime != "auto" else proof.runtime or runtime

    def _runtime(self, candidate: "_Candidate", graph: Graph, backbone: bytes) -> RuntimeKind:
        """What serves the version; decided by a final one, so that a provisional one need not wait for it."""
        decided = self.workshop.ledger.runtime_choice(graph.key, machine_type()) is not None
        may_decide = candidate.kind == "final" and not decided and self.workshop.settings.serve.runtime == "auto"
        reference = self._reference(candidate) if may_decide else None
        return runtime_for(self.workshop, graph, load_arrays(backbone), reference, lambda: self.report.at(0.3))

    def _reference(self, candidate: "_Candidate") -> Reference:
        images, features_ND = candidate.some(self.trained, FEWEST_IMAGES)
        views = list(self.pictures_of(images).views(candidate.snapshot.spec))
        head = candidate.snapshot.aligned
        return Reference(views, head.logits(features_ND), head)

    def _let_services_load(self, digest: str) -> None:
        """Name the candidate, and wait a moment until every living service has it warm, so that the swap is at once."""
        self.workshop.heartbeat.say(candidate=digest)
        end_s = time.monotonic() + PRELOAD_WAIT_S
        while time.monotonic() < end_s:
            services = [view for view in self.workshop.ledger.leases("service:") if view.alive]
            if all(
                digest in view.info.get("loaded", ()) or digest in view.info.get("refused", ()) for view in services
            ):
                return
            self.report.at(0.8)
            time.sleep(0.02)


@dataclass(frozen=True, eq=False)
class _Candidate:
    snapshot: Snapshot
    kind: VersionKind
    judgement: Judgement
    calibration: CalibrationReport
    comparison: BackboneComparison | None
    held: Sequence[HeldOutImage]
    held_ND: Features
    trained_ND: Features

    def gate(self) -> dict[str, Any]:
        """What the version tells of how it was judged."""
        backbone = None if self.comparison is None else self.comparison.to_json()
        return self.judgement.report.to_json() | {"known_rate": self.calibration.known_rate, "backbone": backbone}

    def some(self, trained: Sequence[HeldOutImage], count: int) -> tuple[list[HeldOutImage], Features]:
        """Up to `count` images with their features: held-out ones, topped up with the task's own."""
        images = [*self.held, *trained][:count]
        return images, np.concatenate([self.held_ND, self.trained_ND])[:count]


def _answers(snapshot: Snapshot, images: Sequence[HeldOutImage], held_ND: Features) -> Answers:
    return Answers(
        snapshot.aligned.logits(held_ND),
        snapshot.labels,
        tuple(image.item.label for image in images),
        tuple(image.item.pixel_digest for image in images),
        tuple(image.task for image in images),
    )


def seen_through(snapshot: Snapshot) -> str:
    """What features depend on, as a digest: the weights, and how pixels reach them."""
    weights = Part.of(snapshot.to_parts()["backbone"]).sha256
    return Part.of(json.dumps([weights, snapshot.spec.to_json()], sort_keys=True).encode()).sha256


def _half(snapshot: Snapshot, images: Sequence[HeldOutImage], held_ND: Features) -> HeldOut:
    column = {label: c for c, label in enumerate(snapshot.labels)}
    columns_N = np.array([column[image.item.label] for image in images], dtype=np.int64)
    return HeldOut(held_ND, columns_N, fitting_half([image.item.pixel_digest for image in images]))
