"""What the methods of a comparison were made of: their parts and numbers, as the lines of results say them."""

import json
from collections.abc import Sequence

from everclass.bench.report.settings import as_text, by_name, flat
from everclass.bench.results import Result

Numbers = Sequence[tuple[str, str]]
"""Parts and numbers of one method by name: `memory` is a `DarkExperience`, `memory.capacity` is 1000."""


def numbers_of_methods(results: Sequence[Result]) -> dict[str, Numbers]:
    """Of one protocol's methods, by name; with the seeds where not all runs of the name say the same."""
    found: dict[str, Numbers] = {}
    for name, runs in by_name(results).items():
        seeds: dict[str, list[int]] = {}
        for run in runs:
            if "method" in run.inputs:
                seeds.setdefault(json.dumps(run.inputs["method"]), []).append(run.seed)
        for said, mine in seeds.items():
            title = name if len(mine) == len(runs) else f"{name}, seeds {', '.join(map(str, mine))}"
            found[title] = [
                (number.removesuffix(".is"), as_text(value))
                for number, value in flat(json.loads(said))
                if number != "is"
            ]
    return found


def without_numbers(results: Sequence[Result]) -> list[str]:
    """The names of those methods of which no line says any: lines of older code do not."""
    return [name for name, runs in by_name(results).items() if not any("method" in run.inputs for run in runs)]
