"""`./scripts/soak`: tasks, predictions and rollbacks for as long as wished; 1 where something grows or breaks."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.faults.soak.growth import LIMITS
from tests.faults.soak.run import SoakFigures, run
from tests.taught import teach


def main() -> int:
    """Soak as long as was asked for; 1 where something was found."""
    wish = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="everclass-soak-") as place:
        taught = teach(Path(place) / "taught")
        figures = run(taught, Path(place), wish.minutes, every_s=wish.every, seed=wish.seed)
    print(table(figures))
    if wish.output is not None:
        wish.output.write_text(json.dumps(figures.to_json(), indent=2) + "\n")
    return int(bool(figures.grown or figures.wrong))


def table(figures: SoakFigures) -> str:
    """The figures for people."""
    found = figures.to_json()
    lines = ["| what | first | last | a minute | idle server, a minute | limit | |", "| --- " * 7 + "|"]
    for one in figures.growths:
        numbers = " | ".join(f"{value:.2f}" for value in (one.first, one.last, one.slope, one.control_slope, one.limit))
        lines.append(f"| {one.series} | {numbers} | {'GROWS' if one.too_much else 'flat'} |")
    rest = [f"{name.replace('_', ' ')}: {value}" for name, value in found.items() if name != "growth"]
    return "\n".join([*lines, "", *rest])


def _parser() -> argparse.ArgumentParser:
    limits = ", ".join(f"{what} {limit.rate} + {limit.slack} / minutes" for what, limit in LIMITS.items())
    parser = argparse.ArgumentParser(prog="soak", description=__doc__, epilog=f"Limits, a minute: {limits}.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks (5)")
    parser.add_argument("--seed", type=int, default=1, help="decides what is learned and where it is rolled back to")
    parser.add_argument("--output", type=Path, help="a file for the figures, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
