"""The report says what the lines say, and needs nothing beside itself."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everclass.bench.report import rows, write_report
from everclass.bench.report.figures import figure
from everclass.bench.report.plots import _curves
from tests.everclass.bench.test_results import some_result

RESULTS = [
    some_result("slca", 1993, last_acc=0.60, probe=[0.9, 0.8], oracle=[None, None]),
    some_result("slca", 1996, last_acc=0.70),
    some_result("sl<b>", 1993, last_acc=0.50, novelty_auroc=[None, None]),
    some_result("joint", 1993, curve=[0.9], matrix=[[0.9]], inc_acc=None, forgetting=None, backward_transfer=None),
]


def test_rows_are_means_and_deviations_over_seeds() -> None:
    slca, plain, joint = rows(RESULTS)
    assert slca.seeds == (1993, 1996)
    assert slca.last_acc.text() == "65.0 ± 7.1"
    assert plain.last_acc.text() == "50.0"
    assert joint.inc_acc.text() == "–" and plain.novelty_auroc.mean is None
    assert slca.novelty_auroc.mean == pytest.approx(0.9)
    assert slca.seconds.mean == 11.0 and slca.peak_bytes.mean == 2**30
    assert slca.probe.text() == "80.0" and slca.oracle.text() == "–"


def test_the_time_and_memory_of_measures_are_not_the_methods() -> None:
    seconds, peaks = {"training": 10.0, "measures": 90.0}, {"training": 2**20, "measures": 2**30}
    (row,) = rows([some_result(seconds=seconds, peak_bytes=peaks)])
    assert row.seconds.mean == 10.0 and row.peak_bytes.mean == 2**20


def test_what_was_measured_is_drawn_beside_the_methods_own_line() -> None:
    measured = some_result(probe=[0.9, 0.8], oracle=[0.85, 0.7])
    (axes,) = _curves([measured, some_result("sl", probe=[0.9, 0.8], oracle=[None, None])], "made").axes
    lines = {str(line.get_label()): list(np.asarray(line.get_ydata())) for line in axes.lines}
    assert list(lines) == ["slca", "slca: probe", "slca: oracle", "sl", "sl: probe"]
    assert lines["slca: oracle"] == pytest.approx([85, 70])


def test_no_value_is_no_figure() -> None:
    assert figure([None, None]).text() == "–"
    assert figure([0.5, None]).text() == "50.0"


def test_the_page_stands_alone_and_escapes_what_it_shows(tmp_path: Path) -> None:
    page = write_report(RESULTS, tmp_path, "everclass bench --method 'sl<b>'").read_text()
    assert not re.search(r"https?://|<script|<link", page)
    assert "<b>" not in page and "sl&lt;b&gt;" in page
    assert page.count("data:image/png;base64,") == len(list((tmp_path / "plots").iterdir())) == 4 + 3
    for text in ("65.0 ± 7.1", "training, s", "&#34;epochs&#34;: 4", "torch", "<p>slca, sl&lt;b&gt;, joint</p>"):
        assert text in page


def test_plots_are_pictures(tmp_path: Path) -> None:
    write_report(RESULTS, tmp_path, "everclass bench")
    for path in (tmp_path / "plots").iterdir():
        with Image.open(path) as image:
            assert image.format == "PNG" and min(image.size) > 100


def test_the_table_for_programs_has_a_line_for_each_run(tmp_path: Path) -> None:
    write_report(RESULTS, tmp_path, "everclass bench")
    lines = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert [line["method"] for line in lines] == ["slca", "slca", "sl<b>", "joint"]
    assert lines[0]["curve"] == "0.8000 0.6000" and lines[0]["training_s"] == "10.0"
    assert lines[0]["probe"] == "0.9000 0.8000" and lines[0]["oracle"] == "- -" and lines[1]["probe"] == ""
    assert lines[3]["inc_acc"] == ""


def test_the_table_for_people_has_a_row_for_each_method(tmp_path: Path) -> None:
    write_report(RESULTS, tmp_path, "everclass bench")
    table = (tmp_path / "table.md").read_text()
    assert table.startswith("    everclass bench")
    assert "| slca | 65.0 ± 7.1 |" in table


def test_nothing_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no results"):
        write_report([], tmp_path, "everclass bench")
