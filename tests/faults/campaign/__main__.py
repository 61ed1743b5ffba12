"""`./scripts/campaign`: faults at random under load, and proof from the clients' own record that nothing was lost."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.faults.campaign import kills, swaps
from tests.taught import teach

REQUESTS_PER_SWAP = 100


def main() -> int:
    """Run what was asked for; 1 where something was disproved."""
    wish = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="everclass-campaign-") as place:
        taught = teach(Path(place) / "taught")
        figures = {}
        if wish.kills:
            folder = taught.copied(Path(place) / "kills")
            figures["kills"] = {"seed": wish.seed} | kills.run(folder, wish.kills, wish.seed).to_json()
        if wish.swaps:
            folder = taught.copied(Path(place) / "swaps")
            figures["swaps"] = swaps.run(folder, wish.swaps, wish.swaps * REQUESTS_PER_SWAP).to_json()
    for name, found in figures.items():
        _print(name, found)
    if wish.output is not None:
        wish.output.write_text(json.dumps(figures, indent=2) + "\n")
    return int(any(found["disproved"] for found in figures.values()))


def _print(name: str, found: dict[str, Any]) -> None:
    print(f"\n| {name} | |\n| --- | --- |")
    for key, value in found.items():
        said = ", ".join(f"{count} {what}" for what, count in value.items()) if isinstance(value, dict) else value
        print(f"| {key.replace('_', ' ')} | {'nothing' if said in ([], '') else said} |")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=0, help="kill learner, worker or supervisor so many times")
    parser.add_argument("--swaps", type=int, default=0, help="roll back so many times, with 100 requests for each")
    parser.add_argument("--seed", type=int, default=1, help="decides who is killed and when")
    parser.add_argument("--output", type=Path, help="a file for the figures, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
