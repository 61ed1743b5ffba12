"""Modifiers in a method's name that change nothing of what it learns in these courses."""

from collections.abc import Sequence
from dataclasses import replace

from everclass.bench.chain import LATER
from everclass.bench.course import Course
from model.backbones.seen import OF_DRIFT
from model.method import Method
from model.methods import method_named, taken_apart

FIRST = 1
"""The number of a first task."""


def idle(name: str, courses: Sequence[Course]) -> list[str]:
    """The modifiers without any of which the method is the same, in order of the name; raises UnknownMethod."""
    base, modifiers = taken_apart(name)
    whole = _heard(method_named(name), courses)
    without = ["+".join([base, *modifiers[:place], *modifiers[place + 1 :]]) for place in range(len(modifiers))]
    same = [_heard(method_named(rest), courses) == whole for rest in without]
    return list(dict.fromkeys(one for one, changes_nothing in zip(modifiers, same, strict=True) if changes_nothing))


def _heard(method: Method, courses: Sequence[Course]) -> Method:
    """Without what nothing of these courses asks it for."""
    several = not method.joint and any(len(course.lessons) > 1 for course in courses)
    carries = several and _moves_away(method, courses)
    drift = method.drift if carries else None
    # Old statistics of a class that comes again follow the backbone whatever the method says.
    maps = carries and (drift is not None or any(map(_comes_again, courses)))
    paced = several and method.tuner.moves(LATER) and not method.restarts
    return replace(
        method,
        drift=drift,
        views=method.views if maps else method.views - OF_DRIFT,
        later_pace=method.later_pace if paced else 1.0,
    )


def _moves_away(method: Method, courses: Sequence[Course]) -> bool:
    """Whether the backbone moves when there are classes already: the first task that moves it is not the first of all
    where that has one class.
    """
    alone = any(len(course.lessons[0].classes) < 2 for course in courses)
    return method.tuner.moves(LATER) or (method.tuner.moves(FIRST) and alone)


def _comes_again(course: Course) -> bool:
    """Whether a task brings a class that an earlier one has brought."""
    brought = [one for lesson in course.lessons for one in lesson.classes]
    return len(brought) > len(set(brought))
