"""What `everclass bench` shows while it runs: which run it is, how far it is, and for how long, on any terminal."""

from io import StringIO

import pytest
from rich.console import Console

from everclass.bench.bars import Bars
from model.training.tuning import TuningProgress

SHARING = "sl slca sl+ca_plain slca+drift slca+warm slca+drift+warm sl+ncm sl+lda sl+lda+drift sl+ranpac+m2000"
LONG = "slca+++slower+drift+turned+warm+views sl++"


def console(columns: int) -> Console:
    return Console(file=StringIO(), width=columns)


def shown(names: str, seed: int, columns: int) -> list[str]:
    """The lines of the bars when task 3 of 10 is half way through training."""
    with Bars(console(columns)) as progress:
        listener = progress.listener(names, seed, 10)
        listener.on_phase(2, "training")
        listener.on_step(2, TuningProgress(epoch=0, epochs=1, step=5, steps=10, loss=0.0, accuracy=0.0, seconds=0.0))
        paper = console(columns)
        paper.print(progress.get_renderable())
    assert isinstance(paper.file, StringIO)
    return [line.rstrip() for line in paper.file.getvalue().splitlines()]


@pytest.mark.parametrize("columns", [80, 100, 200])
@pytest.mark.parametrize("seed", [1993, 2**32 - 1])
@pytest.mark.parametrize("names", ["slca", SHARING, LONG])
def test_seed_task_phase_bar_and_time_are_always_there(names: str, seed: int, columns: int) -> None:
    (line,) = shown(names, seed, columns)
    assert f"seed {seed}, task 3 of 10: training ━━━" in line and line.endswith(" 0:00:00")


def test_methods_that_share_stage_1_are_named_by_the_first_of_them_and_their_number() -> None:
    (alone,), (several,), (cut,) = (shown(names, 1993, 80) for names in ("slca", SHARING, LONG))
    assert alone.startswith("slca seed 1993") and several.startswith("sl and 9 more, seed 1993")
    assert cut.startswith("slca+++slow") and "… and 1 more, seed 1993" in cut


def test_of_many_runs_the_one_that_goes_on_is_shown() -> None:
    progress = Bars(console(80))
    for seed in range(50):
        progress.listener("slca", seed, 10)
    (bar,) = progress.tasks
    assert bar.description == "seed 49"


def test_what_a_task_came_to_stays_above_the_bar() -> None:
    progress = Bars(console(80))
    listener = progress.listener("sl slca", 1993, 10)
    listener.on_task(2, {"sl": 0.5, "slca": 0.625})
    listener.on_notice("what was unfinished is damaged")
    (bar,) = progress.tasks
    assert bar.completed == 3 and isinstance(progress.console.file, StringIO)
    assert progress.console.file.getvalue().splitlines() == [
        "seed 1993, after task 3: sl 50.0, slca 62.5",
        "sl slca, seed 1993: what was unfinished is damaged",
    ]
