"""A whole comparison: every seed's chains, their results written as soon as they are there."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from everclass.bench.chain import Chain, Extras, Listener
from everclass.bench.code import code
from everclass.bench.course import Course
from everclass.bench.inputs import as_plain, provenance, same_inputs
from everclass.bench.kept_features import is_kept
from everclass.bench.measures import MEASURES
from everclass.bench.prepared import Prepared
from everclass.bench.progress import ASKED_OTHERWISE, ProgressFolder, clear, left_in
from everclass.bench.results import COMPUTING, RULES, Result, append, newest, read, versions_of
from model.method import Method
from model.statistics.class_statistics import NotFinite
from model.training.threads import limited_threads
from stream.protocols import ProtocolError

RESULTS = "results.jsonl"
UNFINISHED = "unfinished"

ListenerOf = Callable[[str, int, int], Listener]
"""From the names of a chain's methods, the seed and the number of tasks."""


@dataclass(frozen=True)
class Outcome:
    """All lines that are there now, of earlier comparisons too; why runs came to no figures, by method and seed; and
    what stopped all that was still to run, None where nothing did.
    """

    results: Sequence[Result]
    failed: Mapping[str, str]
    stopped: str | None = None


def compare(prepared: Prepared, out: Path, listener_of: ListenerOf, extras: Extras) -> Outcome:
    """Runs what of the request is not in `OUT/results.jsonl` yet; for one process at a time (`held`).

    A run that was stopped goes on at its last finished epoch if the code and the packages are the same. A method whose
    training diverges, or whose head fails, has no figures, and the others go on; at an image that cannot be read all of
    them end, since they all come to it. Raises OSError, and ValueError for lines that are no results.
    """
    failed: dict[str, str] = {}
    stopped: str | None = None
    with limited_threads(prepared.training.threads):
        try:
            for course, methods in product(prepared.courses, prepared.chains):
                failed |= _run(prepared, course, methods, out, listener_of, extras)
        except ProtocolError as error:
            stopped = str(error)
    results = read(out / RESULTS)
    clear(out / UNFINISHED, partial(_has_lines, newest(results)))
    return Outcome(results, failed, stopped)


@dataclass(frozen=True)
class _Waiting:
    """What of a chain is still to be run: its methods, the configuration and the numbers of each, and what is wanted of
    them beside accuracies.
    """

    methods: Mapping[str, Method]
    described: Mapping[str, Any]
    numbers: Mapping[str, Any]
    wanted: Extras


def _run(
    prepared: Prepared,
    course: Course,
    methods: Mapping[str, Method],
    out: Path,
    listener_of: ListenerOf,
    extras: Extras,
) -> dict[str, str]:
    """One chain: its lines are added together; why it came to no figures, by method and seed."""
    waiting = _waiting(prepared, course, methods, out, extras)
    if not waiting.methods:
        return {}
    tasks = 1 if any(method.joint for method in methods.values()) else len(course.lessons)
    listener = listener_of(" ".join(waiting.methods), course.seed, tasks)
    folder = _progress_of(waiting, prepared, course, out / UNFINISHED, listener)
    chain = Chain(waiting.methods, course, prepared.training, prepared.weights, folder, listener, waiting.wanted)
    try:
        found = chain.run()
    except (NotFinite, np.linalg.LinAlgError) as error:
        return {f"{name}, seed {course.seed}": f"training diverged: {error}" for name in waiting.methods}
    if found:
        append(out / RESULTS, *_lines(found, waiting, prepared, course))
        folder.remove()
    return {f"{name}, seed {course.seed}": why for name, why in chain.failed.items()}


def _waiting(prepared: Prepared, course: Course, methods: Mapping[str, Method], out: Path, extras: Extras) -> _Waiting:
    """The methods that have no line yet, or none with all that is asked for."""
    training = prepared.training
    described = {name: _plain(prepared.described | training.changes(method)) for name, method in methods.items()}
    numbers = {name: as_plain(training.adjusted(method)) for name, method in methods.items()}
    extras = replace(extras, origin=prepared.origin(next(iter(methods.values()))))
    before = newest(read(out / RESULTS))
    asked = [one for one in before if _asked(one, course.protocol, course.seed, described, prepared.inputs)]
    done = _done([one for one in asked if _of_numbers(one, numbers)], list(described), extras)
    waiting = {name: method for name, method in methods.items() if name not in done}
    return _Waiting(
        waiting,
        {name: described[name] for name in waiting},
        {name: numbers[name] for name in waiting},
        _with_measures_of([one for one in asked if one.method in waiting], extras),
    )


def _progress_of(
    waiting: _Waiting, prepared: Prepared, course: Course, unfinished: Path, listener: Listener
) -> ProgressFolder:
    """Where the chain's progress is kept, begun; of what is left of others its listener is told."""
    wanted = waiting.wanted
    identity = {
        "protocol": prepared.request.protocol,
        "seed": course.seed,
        "inputs": prepared.inputs,
        "asked": sorted(wanted.asked),
        "features": None if wanted.features is None else str(wanted.features.resolve()),
        "methods": waiting.described,
    }
    made_by = {
        "code": code()["code"],
        "packages": versions_of(COMPUTING),
        "numbers": waiting.numbers,
        "origin": wanted.origin,
    }
    folder = ProgressFolder(unfinished, identity, made_by, listener.on_notice)
    if not folder.begun:
        for names in _asked_otherwise(unfinished, identity, made_by):
            listener.on_notice(ASKED_OTHERWISE.format(names))
    folder.begin()
    return folder


def _lines(found: Mapping[str, Result], waiting: _Waiting, prepared: Prepared, course: Course) -> Iterator[Result]:
    """The results with all that a line says of how they came about."""
    wanted = waiting.wanted
    lead = None if wanted.features is None else next(iter(waiting.methods))
    known = provenance(course, prepared.dataset.note, prepared.training)
    said = {**prepared.inputs, **known, "unknown": wanted.unknown, "features": lead, "rules": RULES}
    for name, one in found.items():
        inputs = said | {"method": waiting.numbers[name]}
        yield replace(one, configuration=waiting.described[name], inputs=inputs)


def _asked(one: Result, protocol: str, seed: int, described: Mapping[str, Any], inputs: Mapping[str, Any]) -> bool:
    """Whether it is of this protocol, seed and configuration, and of no other weights or images as far as it says."""
    same = (one.protocol, one.seed, one.configuration) == (protocol, seed, described.get(one.method))
    return same and same_inputs(one.inputs, inputs)


def _of_numbers(one: Result, numbers: Mapping[str, Any]) -> bool:
    """Whether its method had these parts and numbers then, as far as it says; a name may stand for others by now."""
    return "method" not in one.inputs or one.inputs["method"] == numbers[one.method]


def _asked_otherwise(folder: Path, identity: Mapping[str, Any], made_by: Mapping[str, Any]) -> Iterator[str]:
    """The methods of each unfinished chain that has one in common with this one, and could go on today."""
    for _, about in left_in(folder):
        if any(about["made_by"].get(name) != made_by[name] for name in ("code", "packages")):
            continue
        other = about["identity"]
        same = all(other[name] == identity[name] for name in ("protocol", "seed", "inputs"))
        if same and any(identity["methods"].get(name) == one for name, one in other["methods"].items()):
            yield " ".join(other["methods"])


def _has_lines(results: Sequence[Result], about: Mapping[str, Any]) -> bool:
    """Whether all methods of an unfinished chain have a line by now, with all that the chain was asked for."""
    identity, numbers = about["identity"], about["made_by"]["numbers"]
    methods, asked, features = (identity[name] for name in ("methods", "asked", "features"))
    measures = tuple(one for one in MEASURES if one in asked)
    extras = Extras("unknown" in asked, features and Path(features), measures, about["made_by"].get("origin", ""))
    mine = [one for one in results if _asked(one, identity["protocol"], identity["seed"], methods, identity["inputs"])]
    return _done([one for one in mine if _of_numbers(one, numbers)], list(methods), extras) == set(methods)


def _done(results: Sequence[Result], chain: Sequence[str], extras: Extras) -> set[str]:
    """The methods that have a line with every measure and all features that are asked for."""
    return {
        one.method
        for one in results
        if one.measured >= extras.asked
        and (extras.features is None or _kept(one, chain, extras.features, extras.origin))
    }


def _with_measures_of(results: Sequence[Result], extras: Extras) -> Extras:
    """With what the lines have figures of that are to be replaced, so that a line says no less than the one before."""
    before = frozenset[str]().union(*(one.asked for one in results))
    return replace(
        extras,
        unknown=extras.unknown or "unknown" in before,
        measures=tuple(one for one in MEASURES if one in before or one in extras.measures),
    )


def _kept(one: Result, chain: Sequence[str], folder: Path, origin: str) -> bool:
    """Whether the features of this run are all there, under the name that its line says: that of the chain's first.

    A line of older code does not say it; any method of the chain may have been the first.
    """
    leads = [one.inputs["features"]] if "features" in one.inputs else chain
    return any(is_kept(folder, lead, one.seed, len(one.matrix), origin) for lead in leads if lead)


def _plain(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """As it reads back from a line."""
    found: dict[str, Any] = json.loads(json.dumps(configuration))
    return found
