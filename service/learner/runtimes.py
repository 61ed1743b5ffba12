"""Which runtime serves a graph on this machine: decided once by what the learner's own logits say, then kept."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.heads.head import Head
from model.judging.agreement import FEWEST_IMAGES, REFERENCE, Agreement, Choice, choose, judge
from model.runtime import RuntimeKind, Weights, available_runtimes, machine_type, open_runtime
from service.learner.graphs import Graph
from service.learner.workshop import Workshop

BATCH = 32

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Reference:
    """Images and what the learner itself makes of them: the measure of every runtime."""

    views: Sequence[Pixels]
    logits_NC: NDArray[np.float32]
    head: Head


def runtime_for(
    workshop: Workshop, graph: Graph, weights: Weights, reference: Reference | None, on_runtime: Callable[[], None]
) -> RuntimeKind:
    """The runtime asked for in the settings, the one decided earlier, or the one that is decided now.

    Without a `reference`, or with one of too few images, nothing is decided and the default serves. `on_runtime` is
    called before each runtime is tried.
    """
    asked = workshop.settings.serve.runtime
    if asked != "auto":
        return asked
    decided = workshop.ledger.runtime_choice(graph.key, machine_type())
    if decided is not None:
        return Choice.from_json(decided).kind
    if reference is None or len(reference.views) < FEWEST_IMAGES:
        return REFERENCE
    agreements = []
    for kind in available_runtimes():
        on_runtime()
        agreements.append(_measured(workshop, kind, graph, weights, reference))
    choice = choose(agreements, asked="auto")
    workshop.ledger.record_runtime_choice(workshop.heartbeat.lease, graph.key, machine_type(), choice.to_json())
    return choice.kind


def instead_of(workshop: Workshop, graph_key: str, chosen: RuntimeKind) -> list[RuntimeKind]:
    """What may serve a version that the chosen runtime answers otherwise: those that agreed as well, the fastest first,
    and the reference.
    """
    decided = workshop.ledger.runtime_choice(graph_key, machine_type())
    agreements = () if decided is None else Choice.from_json(decided).agreements
    fastest_first = sorted(agreements, key=lambda one: one.images_per_s, reverse=True)
    others = [one.runtime for one in fastest_first if one.accepted]
    return [kind for kind in dict.fromkeys([*others, REFERENCE]) if kind != chosen]


def serve_with(workshop: Workshop, graph_key: str, digest: str, kind: RuntimeKind) -> None:
    """From now on this runtime serves the version of that digest here, whatever serves the others of its graph."""
    decided = workshop.ledger.runtime_choice(graph_key, machine_type())
    if decided is None:
        return
    choice = Choice.from_json(decided)
    excepted = replace(choice, exceptions={**choice.exceptions, digest: kind})
    workshop.ledger.record_runtime_choice(workshop.heartbeat.lease, graph_key, machine_type(), excepted.to_json())


def _measured(workshop: Workshop, kind: RuntimeKind, graph: Graph, weights: Weights, reference: Reference) -> Agreement:
    views = reference.views
    runtime = open_runtime(kind, graph.data, weights, threads=workshop.settings.serve.threads)
    try:
        runtime.features(np.stack(views[:BATCH]))
        began_s = time.perf_counter()
        parts = [runtime.features(np.stack(views[start : start + BATCH])) for start in range(0, len(views), BATCH)]
        seconds = time.perf_counter() - began_s
    finally:
        runtime.close()
    logits_NC = reference.head.logits(np.concatenate(parts))
    return judge(kind, reference.logits_NC, logits_NC, images_per_s=len(views) / seconds)
