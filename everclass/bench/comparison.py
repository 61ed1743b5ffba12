"""A whole comparison: every seed's chains, their results written as soon as they are there, the report at the end."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from everclass.bench.cautions import Cautions
from everclass.bench.chain import Chain, Extras, Listener, stem
from everclass.bench.code import code
from everclass.bench.course import Course
from everclass.bench.inputs import as_plain, inputs_of, provenance, same_inputs
from everclass.bench.kept_features import is_kept, origin
from everclass.bench.measures import MEASURES
from everclass.bench.progress import ASKED_OTHERWISE, ProgressFolder, clear, left_in
from everclass.bench.recipe import Training
from everclass.bench.report import write_report
from everclass.bench.request import BenchRequest
from everclass.bench.results import COMPUTING, RULES, Result, append, newest, read, versions_of
from model.backbones.backbone import NoLayerNorm, WeightsError, build
from model.backbones.image_size import refusal_of_size
from model.backbones.pretrained import load_pretrained
from model.backbones.spec import BackboneSpec
from model.method import Method
from model.statistics.class_statistics import NotFinite
from model.training.threads import limited_threads
from stream.protocols import PROTOCOLS, Dataset, ProtocolError, read_dataset

RESULTS = "results.jsonl"
UNFINISHED = "unfinished"

ListenerOf = Callable[[str, int, int], Listener]
"""From the names of a chain's methods, the seed and the number of tasks."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A request that can run: its images are found, its weights fit, its methods have a place in the network.

    `inputs` say which weights and images these are (`inputs_of`); they are read once, not for each chain.
    """

    request: BenchRequest
    training: Training
    dataset: Dataset
    weights: Mapping[str, Tensor]
    courses: Sequence[Course]
    chains: Sequence[Mapping[str, Method]]
    inputs: Mapping[str, Any]

    @property
    def described(self) -> dict[str, Any]:
        """The part of the configuration that all methods share, as plain JSON values."""
        return self.training.describe() | self.request.describe()

    @property
    def of_features(self) -> dict[str, Any]:
        """What decides features beside the method and the seed, as plain JSON values."""
        digests = {f"{name}_digest": value for name, value in self.inputs.items()}
        return {"protocol": self.request.protocol, **digests, **self.described}

    def origin(self, method: Method) -> str:
        """What features say of themselves that this method or another one of its chain keeps."""
        alike, _ = stem(self.training.adjusted(method))
        return origin(self.of_features, as_plain(alike))

    def cautions(self, extras: Extras) -> list[str]:
        """What of it changes nothing or is most likely a slip."""
        return Cautions(self.request, self.dataset, self.courses).of(extras)


@dataclass(frozen=True)
class Outcome:
    """The report's page, None where there is nothing to report; why runs came to no figures, by method and seed; and
    what stopped all that was still to run, None where nothing did.
    """

    page: Path | None
    failed: Mapping[str, str]
    stopped: str | None = None


def prepare(request: BenchRequest) -> Prepared:
    """What can be found out before anything is learned.

    Raises ProtocolError, UnknownMethod, WeightsError, UnfitBackbone and ValueError for a request that cannot run,
    OSError for what cannot be read.
    """
    if request.protocol not in PROTOCOLS:
        raise ValueError(f"--protocol: there is no protocol {request.protocol}: it is one of {', '.join(PROTOCOLS)}")
    chains = list(request.chains())
    training = request.training()
    _check_features_of(training.spec)
    dataset = read_dataset(request.protocol, request.data, request.part)
    courses = [request.course(dataset, seed) for seed in request.seeds]
    for tuner in dict.fromkeys(training.adjusted(method).tuner for methods in chains for method in methods.values()):
        tuner.begin(build(training.spec), task=1, seed=0)
    weights = _weights(request, training)
    inputs = inputs_of(dataset, training.spec, request.weights)
    return Prepared(request, training, dataset, weights, courses, chains, inputs)


def _check_features_of(spec: BackboneSpec) -> None:
    """Raises WeightsError and ValueError for images or a last norm that the backbone cannot have."""
    try:
        refusal = refusal_of_size(spec)
    except NoLayerNorm as error:
        raise NoLayerNorm(f"{error}; --norm pretrained keeps its own, as --recipe small does") from error
    if refusal:
        raise ValueError(f"--image-size: {refusal}")


def _weights(request: BenchRequest, training: Training) -> Mapping[str, Tensor]:
    try:
        return load_pretrained(training.spec, request.weights)
    except WeightsError as error:
        raise WeightsError(f"--weights: {error}") from error


def compare(prepared: Prepared, out: Path, command: str, listener_of: ListenerOf, extras: Extras) -> Outcome:
    """Runs what of the request is not in `OUT/results.jsonl` yet, and writes the report; for one process at a time
    (`held`).

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
    return Outcome(write_report(results, out, command) if results else None, failed, stopped)


def _run(
    prepared: Prepared,
    course: Course,
    methods: Mapping[str, Method],
    out: Path,
    listener_of: ListenerOf,
    extras: Extras,
) -> dict[str, str]:
    """One chain: its lines are added together; why it came to no figures, by method and seed."""
    request, training, inputs = prepared.request, prepared.training, prepared.inputs
    described = {name: _plain(prepared.described | training.changes(method)) for name, method in methods.items()}
    numbers = {name: as_plain(training.adjusted(method)) for name, method in methods.items()}
    extras = replace(extras, origin=prepared.origin(next(iter(methods.values()))))
    before = newest(read(out / RESULTS))
    asked = [one for one in before if _asked(one, course.protocol, course.seed, described, inputs)]
    tasks = 1 if any(method.joint for method in methods.values()) else len(course.lessons)
    done = _done([one for one in asked if _of_numbers(one, numbers)], list(described), extras)
    waiting = {name: method for name, method in methods.items() if name not in done}
    if not waiting:
        return {}
    wanted = _with_measures_of([one for one in asked if one.method in waiting], extras)
    identity = {
        "protocol": request.protocol,
        "seed": course.seed,
        "inputs": inputs,
        "asked": sorted(wanted.asked),
        "features": None if wanted.features is None else str(wanted.features.resolve()),
        "methods": {name: described[name] for name in waiting},
    }
    made_by = {
        "code": code()["code"],
        "packages": versions_of(COMPUTING),
        "numbers": {name: numbers[name] for name in waiting},
        "origin": extras.origin,
    }
    listener = listener_of(" ".join(waiting), course.seed, tasks)
    folder = ProgressFolder(out / UNFINISHED, identity, made_by, listener.on_notice)
    if not folder.begun:
        for names in _asked_otherwise(out / UNFINISHED, identity, made_by):
            listener.on_notice(ASKED_OTHERWISE.format(names))
    folder.begin()
    chain = Chain(waiting, course, training, prepared.weights, folder, listener, wanted)
    try:
        found = chain.run()
    except (NotFinite, np.linalg.LinAlgError) as error:
        return {f"{name}, seed {course.seed}": f"training diverged: {error}" for name in waiting}
    if found:
        lead = None if wanted.features is None else next(iter(waiting))
        known = provenance(course, prepared.dataset.note, training)
        said = {**inputs, **known, "unknown": wanted.unknown, "features": lead, "rules": RULES}
        append(
            out / RESULTS,
            *(
                replace(one, configuration=described[name], inputs=said | {"method": numbers[name]})
                for name, one in found.items()
            ),
        )
        folder.remove()
    return {f"{name}, seed {course.seed}": why for name, why in chain.failed.items()}


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
