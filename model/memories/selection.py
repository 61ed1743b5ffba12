"""Which images a memory of limited size keeps: by rows of what it holds and of what comes."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

BUFFER = 1_000
"""Images that a memory holds unless told otherwise: the paper's replay buffer (method.md 4, from memory)."""


def reservoir(held: int, seen: int, coming: int, capacity: int, rng: np.random.Generator) -> Ints:
    """The rows that a reservoir holds after `coming` more images (Vitter's algorithm R).

    It holds rows 0…held−1 and has seen `seen` images; those that come are rows held, held+1, …. Afterwards each of the
    `seen + coming` images is in it with the same chance. Raises ValueError where it is no reservoir.
    """
    if held != min(seen, capacity):
        raise ValueError(f"a reservoir of {capacity} that saw {seen} images cannot hold {held}")
    rows = list(range(held))
    for offset in range(coming):
        if len(rows) < capacity:
            rows.append(held + offset)
            continue
        place = int(rng.integers(seen + offset + 1))
        if place < capacity:
            rows[place] = held + offset
    return np.array(rows, dtype=np.int64)


def balanced(columns_N: Ints, held: int, capacity: int | None, rng: np.random.Generator) -> Ints:
    """The rows that a greedy balancing sampler holds (GDumb), the first `held` being those that it holds already.

    The others come in random order; one that finds no room takes the place of a random image of the largest class,
    unless its own class is among the largest. None keeps all.
    """
    if capacity is None:
        return np.arange(len(columns_N), dtype=np.int64)
    rows_by_class: dict[int, list[int]] = {}
    for row in range(held):
        rows_by_class.setdefault(int(columns_N[row]), []).append(row)
    total = held
    for row in held + rng.permutation(len(columns_N) - held):
        own = rows_by_class.setdefault(int(columns_N[row]), [])
        if total >= capacity:
            largest = max(rows_by_class.values(), key=len)
            if len(own) >= len(largest):
                continue
            largest.pop(int(rng.integers(len(largest))))
            total -= 1
        own.append(int(row))
        total += 1
    return np.sort(np.array([row for rows in rows_by_class.values() for row in rows], dtype=np.int64))
