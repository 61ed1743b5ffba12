"""`./scripts/fuzz`: every call of the real server against its own description; 1 where an answer is another."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.described.run import ROOM, Wish, fuzz, make_key
from tests.http.server import RunningServer
from tests.taught import Taught, teach


def main() -> int:
    """Try a server without keys and one with; 1 where something was found."""
    wish = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="everclass-fuzz-") as place:
        taught = teach(Path(place) / "taught")
        good = [_try(taught, Path(place) / name, Wish(wish.examples, wish.seed), name) for name in ("open", "keyed")]
    return int(not all(good))


def _try(taught: Taught, place: Path, wish: Wish, name: str) -> bool:
    place.mkdir()
    with RunningServer(taught.copied(place / "data"), settings=ROOM) as server:
        server.wait_until_ready()
        found = fuzz(server, place, wish, make_key(server) if name == "keyed" else {})
    print(f"== {name}\n{found.words}", flush=True)
    return found.good


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="requests to each call in each phase, about (100)")
    parser.add_argument("--seed", type=int, default=1, help="decides what is sent (1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
