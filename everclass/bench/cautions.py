"""What of a request changes nothing, or is most likely a slip: told before anything is learned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from everclass.bench.chain import Extras
from everclass.bench.course import FIRST_TASK, LATER_TASK, Course
from everclass.bench.recipe import recipe_of
from everclass.bench.request import BenchRequest
from model import paper
from model.aligners import GaussianAligner, SubSpaceGaussianAligner
from model.backbones.seen import OF_DRIFT
from model.method import Method, Tuner
from model.methods import UnknownMethod, method_named, taken_apart
from model.tuners import FirstTaskTuner, FullTuner, SubSpaceTuner
from stream.protocols import PROTOCOLS, Dataset


@dataclass(frozen=True, eq=False)
class Cautions:
    """A request, its images, and the course of each of its seeds."""

    request: BenchRequest
    dataset: Dataset
    courses: Sequence[Course]

    def of(self, extras: Extras) -> list[str]:
        """All of them, as sentences without a full stop."""
        return [*self._rates(), *self._stage_1(), *self._modifiers(), *self._measures(extras), *self._classes()]

    @property
    def _methods(self) -> dict[str, Method]:
        return {name: method_named(name) for name in self.request.methods}

    @property
    def _names(self) -> str:
        return ", ".join(self.request.methods)

    def _rates(self) -> Iterator[str]:
        """A rate of the backbone or milestones that are not the usual ones, and no method hears."""
        request, methods = self.request, self._methods.values()
        usual_lr = paper.HEAD_RATE * paper.BACKBONE_RATIO
        if request.backbone_lr != usual_lr and not any(map(_hears_backbone_lr, methods)):
            yield f"--backbone-lr moves none of {self._names}"
        usual = recipe_of(request.protocol).shortened(request.epochs).milestones
        if request.milestones not in ((), usual) and not any(
            _falls_at(method, request.milestones, usual) for method in methods
        ):
            yield f"--milestone changes nothing for {self._names}"

    def _stage_1(self) -> Iterator[str]:
        """How stage 1 runs, where there is none."""
        if any(method.learns(FIRST_TASK) for method in self._methods.values()):
            return
        for name in ("epochs", "batch"):
            if getattr(self.request, name) is not None:
                yield f"--{name} changes nothing for {self._names}"

    def _modifiers(self) -> Iterator[str]:
        """Modifiers that make two rows of one method."""
        for name in self.request.methods:
            yield from (f"+{one} changes nothing for {name}" for one in idle(name, self.courses))

    def _measures(self, extras: Extras) -> Iterator[str]:
        """Measures that have nothing to measure."""
        methods = self._methods
        if extras.unknown and all(method.joint for method in methods.values()):
            yield f"--unknown has no images of classes to come: {self._names} learns all tasks as one"
        elif extras.unknown and not any(map(_brings_new_classes, self.courses)):
            yield "--unknown has no images of classes to come: every task brings some that the first has brought"
        if "oracle" in extras.measures:
            without = [name for name, method in methods.items() if not method.reads_statistics]
            if without:
                yield f"--measure oracle says nothing of {', '.join(without)}: no class statistics answer there"

    def _classes(self) -> Iterator[str]:
        """More or fewer classes than the protocol has, as in another folder, and classes that nothing brings."""
        name, found = self.request.protocol, len(self.dataset.classes)
        published = PROTOCOLS[name].classes
        if published not in (None, found):
            yield f"{name} has {published} classes, and there are {found} in {self.request.data}: is that its folder?"
        met = {one for lesson in self.courses[0].lessons for one in lesson.classes}
        if missing := found - len(met):
            yield f"{missing} of {found} classes come in no task"


def idle(name: str, courses: Sequence[Course]) -> list[str]:
    """The modifiers without any of which the method is the same in these courses, in order of the name; raises
    UnknownMethod.
    """
    base, modifiers = taken_apart(name)
    whole = _heard(method_named(name), courses)
    without = ["+".join([base, *modifiers[:place], *modifiers[place + 1 :]]) for place in range(len(modifiers))]
    same = [_is(rest, whole, courses) for rest in without]
    return list(dict.fromkeys(one for one, changes_nothing in zip(modifiers, same, strict=True) if changes_nothing))


def _is(name: str, whole: Method, courses: Sequence[Course]) -> bool:
    """Whether it is this method in these courses; it is none where a modifier stands on one that is left out."""
    try:
        return _heard(method_named(name), courses) == whole
    except UnknownMethod:
        return False


def _heard(method: Method, courses: Sequence[Course]) -> Method:
    """Without what nothing of these courses asks it for."""
    several = not method.joint and any(len(course.lessons) > 1 for course in courses)
    carries = several and _moves_away(method, courses)
    drift = method.drift if carries else None
    # Old statistics of a class that comes again follow the backbone whatever the method says.
    maps = carries and (drift is not None or any(map(_comes_again, courses)))
    paced = several and method.tuner.moves(LATER_TASK) and not method.restarts
    aligner = method.aligner
    # Others answer by what they keep even where they leave the first task alone.
    if isinstance(aligner, GaussianAligner) and not several and not aligner.on_first_task:
        aligner = None
    if isinstance(aligner, SubSpaceGaussianAligner) and not several:
        aligner = aligner.prototypes
    return replace(
        method,
        aligner=aligner,
        drift=drift,
        views=method.views if maps else method.views - OF_DRIFT,
        later_pace=method.later_pace if paced else 1.0,
    )


def _moves_away(method: Method, courses: Sequence[Course]) -> bool:
    """Whether features that statistics are of move when there are classes already: the first task that moves the
    backbone is not the first of all where that has one class.

    EASE's statistics are of the plain network's features, beside which its sub-spaces stand.
    """
    if isinstance(_innermost(method), SubSpaceTuner):
        return False
    alone = any(len(course.lessons[0].classes) < 2 for course in courses)
    return method.tuner.moves(LATER_TASK) or (method.tuner.moves(FIRST_TASK) and alone)


def _comes_again(course: Course) -> bool:
    """Whether a task brings a class that an earlier one has brought."""
    brought = [one for lesson in course.lessons for one in lesson.classes]
    return len(brought) > len(set(brought))


def _brings_new_classes(course: Course) -> bool:
    """Whether a task brings none of the first one's classes, so that its images are unknown until then."""
    first, *later = (set(lesson.classes) for lesson in course.lessons)
    return any(not first & classes for classes in later)


def _hears_backbone_lr(method: Method) -> bool:
    """Whether it moves at the plan's rate of the backbone."""
    inner = _innermost(method)
    return isinstance(inner, FullTuner) and inner.ratio is None


def _innermost(method: Method) -> Tuner:
    """The tuner, or the one that it has for the first task."""
    return method.tuner.tuner if isinstance(method.tuner, FirstTaskTuner) else method.tuner


def _falls_at(method: Method, milestones: Sequence[int], usual: Sequence[int]) -> bool:
    """Whether rates of its stage 1 fall otherwise than at the usual milestones; of SLCA++'s only the number counts."""
    way = method.optimisation
    counts = way.schedule == "cosine" and way.floor_lr is None and len(milestones) != len(usual)
    return method.learns(FIRST_TASK) and (way.schedule == "step" or counts)
