"""A whole comparison: every seed's chains, each result written as soon as it is there, the report at the end."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from everclass.bench.chain import Chain, Extras, Listener
from everclass.bench.progress import ProgressFolder
from everclass.bench.report import write_report
from everclass.bench.request import BenchRequest
from everclass.bench.results import append, read
from model.pretrained import load_pretrained
from stream.protocols import read_dataset

ListenerOf = Callable[[str, int, int], Listener]
"""From the names of a chain's methods, the seed and the number of tasks."""


def compare(request: BenchRequest, out: Path, command: str, listener_of: ListenerOf, extras: Extras) -> Path:
    """Runs what of the request is not in `OUT/results.jsonl` yet, and writes the report; the path of its page.

    A run that was stopped goes on at its last finished epoch. Raises ProtocolError, UnknownMethod, WeightsError.
    """
    training = request.training()
    dataset = read_dataset(request.protocol, request.data, request.part)
    weights = load_pretrained(training.spec, request.weights)
    lines = out / "results.jsonl"
    described = json.loads(json.dumps(training.describe() | request.describe()))
    for seed in request.seeds:
        course = request.course(dataset, seed)
        for methods in request.chains():
            done = {
                (one.method, one.seed)
                for one in read(lines)
                if one.configuration == described and one.measured >= set(extras.measures)
            }
            waiting = {name: method for name, method in methods.items() if (name, seed) not in done}
            if not waiting:
                continue
            identity = {"methods": list(waiting), "seed": seed, "measures": list(extras.measures), **described}
            folder = ProgressFolder(out / "unfinished", identity)
            listener = listener_of(" ".join(waiting), seed, len(course.lessons))
            for result in Chain(waiting, course, training, weights, folder, listener, extras).run().values():
                append(lines, replace(result, configuration=described))
            folder.remove()
    return write_report(read(lines), out, command)
