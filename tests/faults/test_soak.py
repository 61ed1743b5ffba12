"""The soak in short (`./scripts/soak` runs the long ones), and that it finds what grows."""

from pathlib import Path

import pytest

from tests.faults.soak.growth import LIMITS, Growth, Sample, growths, name_of, slope
from tests.faults.soak.run import run
from tests.taught import Taught


def test_a_short_soak_breaks_nothing_and_looks_at_every_process(taught: Taught, tmp_path: Path) -> None:
    figures = run(taught, tmp_path, 0.1, every_s=0.5)
    assert figures.wrong == []
    assert figures.tasks.total() == len(figures.record.accepted) > 0
    assert figures.record.promoted and figures.record.predictions
    series = {growth.series for growth in figures.growths}
    processes = ("supervisor", "service", "learner")
    assert series >= {f"{what}/{process}" for what in ("rss_mb", "handles", "threads") for process in processes}
    assert series >= {"blobs_mb", "database_mb", "others_mb"}


def line(what: str, start: float, rate: float, minutes: int = 60) -> list[Sample]:
    """A value that grows by `rate` a minute, looked at every minute."""
    return [Sample(60.0 * minute, {what: start + rate * minute}) for minute in range(minutes)]


@pytest.mark.parametrize("what", LIMITS)
def test_what_grows_is_found_and_what_stands_still_is_not(what: str) -> None:
    allowed = LIMITS[what].over(60 * 0.7)
    (growing,) = growths(line(what, 100.0, 1.1 * allowed), line(what, 100.0, 0.0))
    (flat,) = growths(line(what, 100.0, 0.0), line(what, 100.0, 0.0))
    assert growing.too_much and growing.slope == pytest.approx(1.1 * allowed)
    assert not flat.too_much


def test_what_an_idle_server_does_too_is_not_the_work_s() -> None:
    allowed = LIMITS["rss_mb"].over(60 * 0.7)
    (both,) = growths(line("rss_mb/learner", 0.0, 2 * allowed), line("rss_mb/learner", 0.0, 2 * allowed))
    assert not both.too_much
    (shrinking,) = growths(line("rss_mb/learner", 0.0, 0.9 * allowed), line("rss_mb/learner", 0.0, -allowed))
    assert not shrinking.too_much


def test_warming_up_and_a_peak_are_no_growth() -> None:
    samples = [Sample(60.0 * minute, {"handles/service": 40.0 * min(minute, 15) / 15}) for minute in range(60)]
    samples[40] = Sample(60.0 * 40, {"handles/service": 900.0})
    (found,) = growths(samples, line("handles/service", 5.0, 0.0))
    assert (found.slope, found.too_much) == (0.0, False)


def test_the_longer_a_soak_the_less_may_grow() -> None:
    for limit in LIMITS.values():
        assert limit.over(10) > limit.over(60) > limit.over(6000) > limit.rate


def test_a_slope_is_in_units_a_minute() -> None:
    assert slope([(0.0, 1.0), (30.0, 2.0), (60.0, 3.0)]) == pytest.approx(2.0)
    assert slope([(0.0, 1.0)]) == 0.0


def test_processes_are_called_by_what_they_run() -> None:
    assert name_of(["/bin/python", "-m", "everclass.main", "serve"]) == "supervisor"
    assert name_of(["/bin/python", "-m", "service.learner"]) == "learner"
    assert name_of(["/bin/python", "-c", "from multiprocessing.spawn import spawn_main"]) == "multiprocessing"
    assert name_of(["/usr/bin/postgres"]) == "postgres"
    assert name_of([]) == "gone"


def test_growth_over_its_limit_is_named() -> None:
    growth = Growth("threads/service", 15.0, 60.0, 3.0, 0.0, 1.0)
    assert growth.too_much
