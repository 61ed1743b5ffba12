"""Which runtime serves a graph on this machine: decided once from what the learner's own logits say, then kept."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.agreement import Agreement, Choice, choose, judge_agreement
from model.head import Head
from model.runtime import available_runtimes, machine_type, open_runtime
from service.learner.graphs import Graph
from service.learner.workshop import Workshop

DEFAULT_RUNTIME = "onnxruntime"
FEWEST_IMAGES = 300
"""So many images have to be compared before a runtime other than the default may be taken."""
BATCH = 32

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Reference:
    """Images and what the learner itself makes of them: the measure of every runtime."""

    views: Sequence[Pixels]
    logits_NC: NDArray[np.float32]
    head: Head


def runtime_for(
    workshop: Workshop,
    graph: Graph,
    weights: Mapping[str, NDArray[np.float32]],
    reference: Callable[[], Reference] | None,
    on_runtime: Callable[[], None],
) -> Choice:
    """The runtime asked for in the settings, the one decided earlier, or the one that is decided now.

    `reference` makes the images to decide by (None: not now); `on_runtime` is called before each runtime is tried.
    """
    asked = workshop.settings.serve.runtime
    if asked != "auto":
        return Choice(asked, "asked for in the settings", ())
    machine = machine_type()
    decided = workshop.ledger.runtime_choice(graph.key, machine)
    if decided is not None:
        return Choice.from_json(decided)
    if reference is None:
        return Choice(DEFAULT_RUNTIME, "not yet decided between runtimes", ())
    measure = reference()
    if len(measure.views) < FEWEST_IMAGES:
        return Choice(DEFAULT_RUNTIME, f"fewer than {FEWEST_IMAGES} images to compare runtimes on", ())
    agreements = []
    for kind in available_runtimes():
        on_runtime()
        agreements.append(_measured(workshop, kind, graph, weights, measure))
    choice = choose(agreements)
    workshop.ledger.record_runtime_choice(workshop.heartbeat.lease, graph.key, machine, choice.to_json())
    return choice


def _measured(
    workshop: Workshop, kind: str, graph: Graph, weights: Mapping[str, NDArray[np.float32]], reference: Reference
) -> Agreement:
    runtime = open_runtime(kind, graph.data, weights, threads=workshop.settings.serve.threads)
    try:
        runtime.features(np.stack(reference.views[:BATCH]))
        began_s = time.perf_counter()
        parts = [
            runtime.features(np.stack(reference.views[start : start + BATCH]))
            for start in range(0, len(reference.views), BATCH)
        ]
        seconds = time.perf_counter() - began_s
    finally:
        runtime.close()
    logits_NC = reference.head.logits(np.concatenate(parts))
    return judge_agreement(kind, reference.logits_NC, logits_NC, images_per_s=len(reference.views) / seconds)
