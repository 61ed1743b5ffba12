"""`python -m benchmarks.accuracy.tables [FOLDER …]`: each comparison's table, made anew of the lines beside it.

Lines are those of `everclass bench`, of one command or of several; a run that was made again stands below its older
line and counts alone. The first line of a table, the command, stays.
"""

from pathlib import Path

import click

from everclass.bench.report import rows
from everclass.bench.report.tables import as_markdown
from everclass.bench.results import newest, read

RESULTS = Path(__file__).parents[1] / "results"


def comparisons() -> list[Path]:
    """The folders under `benchmarks/results` that hold lines, in order of their names."""
    return sorted(path.parent for path in RESULTS.glob("*/results.jsonl"))


def made_anew(folder: Path) -> str:
    """The text of the folder's `table.md`."""
    command = (folder / "table.md").read_text().splitlines()[0].strip()
    return as_markdown(rows(newest(read(folder / "results.jsonl"))), command) + "\n"


@click.command()
@click.argument(
    "folders", metavar="[FOLDER …]", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
def main(folders: tuple[Path, ...]) -> None:
    """Writes table.md of these folders; of all comparisons where none is named."""
    for folder in folders or comparisons():
        (folder / "table.md").write_text(made_anew(folder))


if __name__ == "__main__":
    main()
