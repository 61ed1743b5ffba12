"""The report of results: one HTML page, PNG plots, CSV and a Markdown table, all made from the lines alone."""

from collections.abc import Sequence
from pathlib import Path

from everclass.bench.report.figures import Row, rows
from everclass.bench.report.page import as_html
from everclass.bench.report.plots import draw_all
from everclass.bench.report.tables import as_csv, as_markdown
from everclass.bench.results import Result, newest

__all__ = ["Row", "rows", "write_report"]


def write_report(results: Sequence[Result], folder: Path, command: str) -> Path:
    """Writes `report.html`, `results.csv`, `table.md` and `plots/*.png`; the path of the page.

    Raises ValueError where there are no results.
    """
    if not results:
        raise ValueError("there are no results to report")
    chosen = newest(results)
    table = rows(chosen)
    plots = draw_all(chosen, folder / "plots")
    (folder / "results.csv").write_text(as_csv(chosen))
    (folder / "table.md").write_text(as_markdown(table, command))
    page = folder / "report.html"
    page.write_text(as_html(chosen, table, plots, command))
    return page
