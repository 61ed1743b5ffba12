"""Plots show the figures that the lines have, and hold as many methods as a campaign compares."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from everclass.bench.report.plots import _curves, _forgetting, _matrix, _memory, _saved, _seconds, draw_all
from everclass.bench.results import Result
from tests.everclass.bench.test_results import some_result

CAMPAIGN = {
    f"slca+++slower+drift+turned+warm+views+{number}": [
        some_result(seed=seed, probe=[0.9, 0.8], curve=[0.8, 0.3 + number / 100]) for seed in (1993, 1996)
    ]
    for number in range(64)
} | {"joint": [some_result("joint", curve=[0.9], matrix=[[0.9]], forgetting=None)]}


def axes_of(figure: Figure | None) -> Axes:
    """The axes of a figure laid out as it is when it is saved."""
    assert figure is not None
    figure.draw_without_rendering()
    (axes,) = figure.axes
    return axes


def labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def bars(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """From where to where each bar of a phase goes, from the top down."""
    found = {}
    for phase in axes.containers:
        rows = sorted(phase.patches, key=lambda bar: bar.get_y())
        found[str(phase.get_label())] = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in rows]
    assert axes.yaxis_inverted(), "the first row is on top"
    return found


def heights(line: Line2D) -> list[float]:
    return list(np.asarray(line.get_ydata()))


def test_a_line_is_the_mean_over_seeds_and_its_band_their_deviation() -> None:
    axes = axes_of(_curves({"slca": [some_result(curve=[0.8, 0.6]), some_result(curve=[1.0, 0.6])]}, "made"))
    assert heights(axes.lines[0]) == pytest.approx([90, 60]) and list(axes.lines[0].get_xdata()) == [1, 2]
    band = axes.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((60, 90 + 10 * 2**0.5))


def test_what_was_measured_is_drawn_beside_the_methods_own_line() -> None:
    measured = some_result(probe=[0.9, 0.8], oracle=[0.85, 0.7])
    plain = some_result("sl", probe=[0.9, 0.8], oracle=[None, None])
    axes = axes_of(_curves({"slca": [measured], "sl": [plain]}, "made"))
    lines = {str(line.get_label()): heights(line) for line in axes.lines}
    assert list(lines) == ["slca", "slca: probe", "slca: oracle", "sl", "sl: probe"]
    assert lines["slca: oracle"] == pytest.approx([85, 70])


def test_what_was_measured_of_some_seeds_says_of_how_many() -> None:
    seeds = [some_result(probe=[0.9, 0.8]), some_result(seed=1996), some_result(seed=1997)]
    _, probe = axes_of(_curves({"slca": seeds}, "made")).lines
    assert probe.get_label() == "slca: probe (1 of 3 seeds)" and heights(probe) == pytest.approx([90, 80])


def test_who_learned_all_tasks_as_one_is_a_line_across() -> None:
    joint = [some_result("joint", seed, curve=[level], probe=[0.95]) for seed, level in ((1993, 0.8), (1996, 0.9))]
    slca, across, probe = axes_of(_curves({"slca": [some_result()], "joint": joint}, "made")).lines
    assert across.get_label() == "joint" and list(np.asarray(across.get_xdata())) == [0, 1]
    assert heights(across) == pytest.approx([85, 85]) and heights(probe) == pytest.approx([95, 95])
    assert slca.get_color() != across.get_color() == probe.get_color()
    assert across.get_linestyle() != probe.get_linestyle()


def test_no_two_lines_of_a_campaign_look_the_same() -> None:
    lines = axes_of(_curves(CAMPAIGN, "made")).lines
    looks = {(line.get_color(), line.get_marker(), line.get_fillstyle(), line.get_linestyle()) for line in lines}
    assert len(looks) == len(lines) == 64 * 2 + 1


def test_the_legend_of_a_campaign_names_every_line_within_the_figure(tmp_path: Path) -> None:
    axes = axes_of(figure := _curves(CAMPAIGN, "made"))
    legend = axes.get_legend()
    names = [text.get_text() for text in legend.get_texts()]
    assert sorted(names) == sorted(str(line.get_label()) for line in axes.lines)
    assert names[:3] == ["slca+++slower+drift+turned+warm+views+63", f"{names[0]}: probe", names[0][:-1] + "2"]
    assert legend.get_window_extent().width <= axes.get_window_extent().width
    for part in (legend, *legend.get_texts()):
        inside = part.get_window_extent()
        assert figure.bbox.x0 <= inside.x0 and inside.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= inside.y0 and inside.y1 <= axes.xaxis.label.get_window_extent().y0
    with Image.open(_saved(figure, tmp_path, "made")) as image:
        assert image.size == pytest.approx(figure.bbox.size, abs=1)


def test_long_names_take_no_room_from_what_is_drawn() -> None:
    short, long = _forgetting({"slca": [some_result()]}, "made"), _forgetting({"slca" * 60: [some_result()]}, "made")
    assert axes_of(long).get_window_extent().size == pytest.approx(axes_of(short).get_window_extent().size)
    (label,) = axes_of(long).get_yticklabels()
    assert label.get_window_extent().x0 >= 0


def test_rows_of_a_campaign_do_not_overlap() -> None:
    for draw in (_forgetting, _seconds, _memory):
        axes = axes_of(figure := draw(CAMPAIGN, "made"))
        places = [label.get_window_extent() for label in axes.get_yticklabels()]
        assert len(places) == 64 + (draw is not _forgetting)
        assert all(above.y0 > below.y1 for above, below in pairwise(places))
        assert min(place.x0 for place in places) >= 0 and figure is not None
        assert axes.get_tightbbox().y1 <= figure.bbox.y1


def test_a_matrix_has_a_row_for_each_task_learned_and_a_column_for_each_tasks_classes() -> None:
    matrix, other = [[0.9], [0.7, 0.4], [0.6, 0.3, 1.0]], [[0.7], [0.5, 0.2], [0.4, 0.1, 0.8]]
    axes = axes_of(_matrix([some_result(matrix=matrix), some_result(matrix=other)], "made"))
    shown = axes.images[0].get_array()
    assert shown is not None
    expected = [[80, np.nan, np.nan], [60, 30, np.nan], [50, 20, 90]]
    np.testing.assert_allclose(shown.filled(np.nan), expected)
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "80", (0, 1): "60", (1, 1): "30", (0, 2): "50", (1, 2): "20", (2, 2): "90"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("classes of task", "after task")
    assert labels(axes) == ["1", "2", "3"] and axes.yaxis_inverted() and axes.images[0].get_clim() == (0, 100)


def test_forgetting_is_a_bar_for_each_method_that_can_forget() -> None:
    groups = {
        "slca": [some_result(forgetting=0.1), some_result(forgetting=0.2), some_result(forgetting=None)],
        "joint": [some_result(forgetting=None)],
        "sl": [some_result(forgetting=-0.05)],
    }
    axes = axes_of(_forgetting(groups, "made"))
    (widths,) = bars(axes).values()
    assert labels(axes) == ["slca", "sl"] and np.array(widths).sum(axis=1) == pytest.approx([15, -5])
    assert _forgetting({"joint": groups["joint"]}, "made") is None


def test_seconds_of_phases_stand_end_to_end() -> None:
    groups = {
        "slca": [some_result(seconds={"training": 10, "alignment": 2, "measures": 6}), some_result(seed=1996)],
        "sl": [some_result(seconds={"training": 7})],
    }
    axes = axes_of(_seconds(groups, "made"))
    assert labels(axes) == ["slca", "sl"]
    assert bars(axes) == {
        "training": [(0, 10), (0, 7)],
        "alignment": [(10, 11.5), (7, 7)],
        "measures": [(11.5, 17.5), (7, 7)],
    }
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "alignment", "measures"]


def test_memory_is_a_mark_for_each_phase() -> None:
    groups = {
        "slca": [
            some_result(peak_bytes={"training": 2**30, "measures": 2**31}),
            some_result(peak_bytes={"training": 0}),
        ],
        "sl": [some_result(peak_bytes={"training": 2**31})],
    }
    axes = axes_of(_memory(groups, "made"))
    marks = {str(line.get_label()): list(np.asarray(line.get_xdata())) for line in axes.lines}
    assert labels(axes) == ["slca", "sl"] and all(heights(line) == [0, 1] for line in axes.lines)
    assert marks == {"training": [0.5, 2], "measures": [2, pytest.approx(np.nan, nan_ok=True)]}


def test_every_method_of_a_campaign_has_a_matrix(tmp_path: Path) -> None:
    results = [replace(one, method=name) for name, (one, *_) in CAMPAIGN.items()]
    plots = draw_all(results, tmp_path)["made"]
    assert list(plots.matrices) == list(CAMPAIGN)
    assert list(plots.together) == ["accuracy over tasks", "forgetting", "seconds by phase", "peak memory by phase"]
    files = {*plots.together.values(), *plots.matrices.values()}
    assert files == set(tmp_path.iterdir()) and len(files) == 65 + 4
    for path in files:
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"


def test_plots_of_earlier_reports_are_removed_and_other_pictures_are_not(tmp_path: Path) -> None:
    (tmp_path / "holiday.png").touch()

    def drawn(*results: Result) -> set[str]:
        draw_all(results, tmp_path)
        return {path.name for path in tmp_path.iterdir()}

    first = drawn(some_result("slca"), some_result("sl"), some_result(protocol="other"))
    second = drawn(some_result("sl", forgetting=None))
    assert "made-accuracy-matrix-of-slca.png" in first and "other-seconds-by-phase.png" in first
    assert second == {
        "holiday.png",
        "made-accuracy-over-tasks.png",
        "made-seconds-by-phase.png",
        "made-peak-memory-by-phase.png",
        "made-accuracy-matrix-of-sl.png",
    }


def test_names_of_files_are_short_and_each_matrix_has_one_of_its_own(tmp_path: Path) -> None:
    sizes = [some_result(configuration={"sizes": [one] * 100}) for one in (1, 2)]
    weights = [some_result(configuration={"weights": name}, protocol="other") for name in ("a_b.pth", "a.b.pth")]
    plots = draw_all([*sizes, *weights], tmp_path)
    matrices = [path for one in plots.values() for path in one.matrices.values()]
    assert len(set(matrices)) == 4 and all(path.is_file() for path in matrices)
    assert all(len(path.name) < 120 for path in tmp_path.iterdir())
    assert draw_all([*sizes, *weights], tmp_path) == plots
    (alone,) = draw_all(weights[:1], tmp_path)["other"].matrices.values()
    assert alone.name == "other-accuracy-matrix-of-slca.png" and not set(matrices) & set(tmp_path.iterdir())
