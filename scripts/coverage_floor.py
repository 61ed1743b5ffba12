"""Fails where the branch coverage of one of the folders named is below the floor; prints only what is missing."""

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

from coverage import Coverage

FLOOR = 90.0


def main(folders: list[str]) -> int:
    """How many folders are below the floor."""
    data = Coverage()
    data.load()
    with contextlib.redirect_stdout(io.StringIO()) as table:
        data.report(skip_covered=True, show_missing=True)
    print(table.getvalue())
    rates = {folder: branch_rate(data, folder) for folder in folders}
    for folder, rate in rates.items():
        print(f"branch coverage of {folder}/: {rate:.1f} % (at least {FLOOR:g} %)")
    return sum(rate < FLOOR for rate in rates.values())


def branch_rate(data: Coverage, folder: str) -> float:
    """The percentage of a folder's branches that were taken."""
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.json"
        with contextlib.redirect_stdout(io.StringIO()):
            data.json_report(include=[f"{folder}/*"], outfile=str(report))
        totals = json.loads(report.read_text())["totals"]
    return 100.0 * totals["covered_branches"] / max(1, totals["num_branches"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
