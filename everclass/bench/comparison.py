"""A whole comparison: every seed's chains, each result written as soon as it is there, the report at the end."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from everclass.bench.chain import Chain, Extras, Listener, features_file
from everclass.bench.course import Course
from everclass.bench.inputs import as_plain, inputs_of, provenance, same_inputs
from everclass.bench.progress import ProgressFolder
from everclass.bench.report import write_report
from everclass.bench.request import BenchRequest
from everclass.bench.results import Result, append, read
from model.pretrained import load_pretrained
from stream.protocols import read_dataset

ListenerOf = Callable[[str, int, int], Listener]
"""From the names of a chain's methods, the seed and the number of tasks."""


def compare(request: BenchRequest, out: Path, command: str, listener_of: ListenerOf, extras: Extras) -> Path:
    """Runs what of the request is not in `OUT/results.jsonl` yet, and writes the report; the path of its page.

    A run that was stopped goes on at its last finished epoch. Raises ProtocolError, UnknownMethod, WeightsError and
    OSError.
    """
    training = request.training()
    dataset = read_dataset(request.protocol, request.data, request.part)
    weights = load_pretrained(training.spec, request.weights)
    lines = out / "results.jsonl"
    shared = training.describe() | request.describe()
    inputs, known = inputs_of(dataset, training.spec, request.weights), provenance(dataset, training.device)
    for seed in request.seeds:
        course = request.course(dataset, seed)
        for methods in request.chains():
            described = {name: _plain(shared | training.changes(method)) for name, method in methods.items()}
            alike = [one for one in read(lines) if _alike(one, course, inputs)]
            tasks = 1 if any(method.joint for method in methods.values()) else len(course.lessons)
            done = _done(alike, described, extras, tasks)
            waiting = {name: method for name, method in methods.items() if name not in done}
            if not waiting:
                continue
            identity = {
                "protocol": request.protocol,
                "seed": seed,
                "inputs": inputs,
                "asked": sorted(extras.asked),
                "features": None if extras.features is None else str(extras.features.resolve()),
                "methods": {name: described[name] for name in waiting},
            }
            folder = ProgressFolder(out / "unfinished", identity)
            listener = listener_of(" ".join(waiting), seed, tasks)
            lead = None if extras.features is None else next(iter(waiting))
            said = inputs | known | {"unknown": extras.unknown, "features": lead}
            for name, result in Chain(waiting, course, training, weights, folder, listener, extras).run().items():
                numbers = {"method": as_plain(training.adjusted(waiting[name]))}
                append(lines, replace(result, configuration=described[name], inputs=said | numbers))
            folder.remove()
    return write_report(read(lines), out, command)


def _alike(one: Result, course: Course, inputs: Mapping[str, Any]) -> bool:
    """Whether it is of this protocol and seed, and of no other weights or images as far as it says."""
    return (one.protocol, one.seed) == (course.protocol, course.seed) and same_inputs(one.inputs, inputs)


def _done(results: Sequence[Result], described: Mapping[str, Any], extras: Extras, tasks: int) -> set[str]:
    """The methods that have a line of their configuration, with every measure and all features that are asked for."""
    return {
        one.method
        for one in results
        if one.configuration == described.get(one.method)
        and one.measured >= extras.asked
        and (extras.features is None or _kept(one, list(described), extras.features, tasks))
    }


def _kept(one: Result, chain: Sequence[str], folder: Path, tasks: int) -> bool:
    """Whether the features of this run are all there, under the name that its line says: that of the chain's first.

    A line of older code does not say it; any method of the chain may have been the first.
    """
    leads = [one.inputs["features"]] if "features" in one.inputs else chain
    return any(
        all(features_file(folder, lead, one.seed, task).is_file() for task in range(tasks)) for lead in leads if lead
    )


def _plain(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """As it reads back from a line."""
    found: dict[str, Any] = json.loads(json.dumps(configuration))
    return found
