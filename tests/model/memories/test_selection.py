"""What memories of limited size keep."""

import numpy as np
import pytest

from model.memories.selection import balanced, reservoir


def test_a_reservoir_keeps_every_image_with_the_same_chance() -> None:
    capacity, tasks, runs = 20, (15, 30, 55), 3_000
    kept_N = np.zeros(sum(tasks))
    for run in range(runs):
        held = np.zeros(0, np.int64)
        seen = 0
        for number, coming in enumerate(tasks):
            rng = np.random.default_rng([run, number])
            identities = np.concatenate([held, seen + np.arange(coming)])
            held = identities[reservoir(len(held), seen, coming, capacity, rng)]
            seen += coming
            assert len(held) == len(set(held.tolist())) == min(seen, capacity)
        kept_N[held] += 1
    expected = runs * capacity / sum(tasks)
    chi_square = float(np.square(kept_N - expected).sum() / expected)
    assert chi_square < 140, "99 degrees of freedom; the chance of more is below 0.5 %"


def test_a_reservoir_says_when_it_is_none() -> None:
    with pytest.raises(ValueError, match="cannot hold 3"):
        reservoir(3, 9, 5, 5, np.random.default_rng(0))


@pytest.mark.parametrize("seed", range(5))
def test_greedy_balance_holds_classes_of_equal_number(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns_N = np.zeros(0, np.int64)
    for coming in (np.repeat([0, 1], 40), np.repeat([2, 3, 4], [30, 3, 50]), np.repeat([5], 100)):
        both_N = np.concatenate([columns_N, coming])
        rows_N = balanced(both_N, len(columns_N), 50, rng)
        assert len(rows_N) == len(set(rows_N.tolist())) == min(50, len(both_N))
        columns_N = both_N[rows_N]
        counts = np.bincount(columns_N)
        full = counts[np.bincount(both_N) > counts]
        assert len(full) == 0 or full.max() - full.min() <= 1
    assert np.bincount(columns_N)[3] == 3, "a class of few images keeps them all"


def test_no_limit_keeps_all() -> None:
    assert balanced(np.array([3, 1, 1]), 1, None, np.random.default_rng(0)).tolist() == [0, 1, 2]
