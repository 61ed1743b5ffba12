"""What the pages under `benchmarks/results` say stands in the lines beside them."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.accuracy.tables import RESULTS, comparisons, made_anew, main
from everclass.bench.report import rows
from everclass.bench.results import newest, read


@pytest.mark.parametrize("folder", comparisons(), ids=lambda folder: folder.name)
def test_tables_are_made_of_the_lines_beside_them(folder: Path) -> None:
    """Where this fails, lines were added: run `python -m benchmarks.accuracy.tables`."""
    assert (folder / "table.md").read_text() == made_anew(folder)


def test_a_table_is_written_anew_below_its_command(tmp_path: Path) -> None:
    source = RESULTS / "comparison-noise"
    lines = (source / "results.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "results.jsonl").write_text("".join(lines[:2]))
    (tmp_path / "table.md").write_text("    the command\n\nsomething old\n")
    assert CliRunner().invoke(main, [str(tmp_path)]).exit_code == 0
    written = (tmp_path / "table.md").read_text()
    assert written.startswith("    the command\n\nMeans") and "something old" not in written
    assert [line.split("|")[1].strip() for line in written.splitlines() if line.startswith("| s")] == ["slca", "sl+lda"]


def test_the_short_table_says_what_the_whole_ones_say() -> None:
    page = (RESULTS / "comparison-small" / "README.md").read_text()
    short = page.split("## In short\n")[1].split("\n## ")[0]
    told = re.findall(
        r"^\| .*? \| `(.+?)` \| \[.*?\]\((.*?)table\.md\) \| (.*?) \| (.*?) \| (.*?) \|$", short, re.MULTILINE
    )
    assert len(told) > 20 and len(told) == sum(line.startswith("|") for line in short.splitlines()) - 2
    for method, folder, *figures in told:
        lines = newest(read(RESULTS / "comparison-small" / folder / "results.jsonl"))
        found = [row for row in rows(lines) if row.method == method]
        assert figures in [[row.last_acc.text(), row.inc_acc.text(), str(len(row.seeds))] for row in found], method
