"""The report says what the lines say, and needs nothing beside itself."""

import csv
import io
import re
from html import unescape
from pathlib import Path

import pytest

from everclass.bench.report import rows, write_report
from everclass.bench.report.figures import figure
from everclass.bench.report.numbers import numbers_of_methods, without_numbers
from everclass.bench.report.page import as_html
from everclass.bench.report.settings import settings
from everclass.bench.report.tables import LEGEND, as_csv, by_task, side_by_side
from everclass.bench.results import RULES, Result, newest
from tests.everclass.bench.test_results import some_result

RESULTS = [
    some_result("slca", 1993, last_acc=0.60, probe=[0.9, 0.8], oracle=[None, None]),
    some_result("slca", 1996, last_acc=0.70),
    some_result("sl<b>", 1993, last_acc=0.50, novelty_auroc=[None, None]),
    some_result(
        "joint",
        1993,
        curve=[0.9],
        matrix=[[0.9]],
        test_images=[20],
        inc_acc=None,
        forgetting=None,
        backward_transfer=None,
    ),
]


def test_rows_are_means_and_deviations_over_seeds() -> None:
    slca, plain, joint = rows(RESULTS)
    assert slca.seeds == (1993, 1996)
    assert slca.last_acc.text() == "65.0 ± 7.1"
    assert plain.last_acc.text() == "50.0"
    assert joint.inc_acc.text() == "–" and plain.novelty_auroc.mean is None
    assert slca.novelty_auroc.mean == pytest.approx(0.9)
    assert slca.seconds.mean == 11.0 and slca.peak_bytes.mean == 2**30
    assert slca.probe.mean == pytest.approx(0.8) and slca.oracle.text() == "–"


@pytest.mark.parametrize(
    ("method", "wanted"), [("slca", 5), ("sl+ncm", 5), ("no longer known", 5), ("lwf", 4), ("ranpac", 4)]
)
def test_class_statistics_are_remembered_by_those_that_answer_by_them(method: str, wanted: int) -> None:
    (row,) = rows([some_result(method, kept_bytes=4 * 2**20)])
    assert row.kept_bytes.mean == wanted * 2**20


def test_the_time_and_memory_of_measures_are_not_the_methods() -> None:
    seconds, peaks = {"training": 10.0, "measures": 90.0}, {"training": 2**20, "measures": 2**30}
    (row,) = rows([some_result(seconds=seconds, peak_bytes=peaks)])
    assert row.seconds.mean == 10.0 and row.peak_bytes.mean == 2**20


def pre_trained(method: str, weights: str, last_acc: float, image_size: int = 112, **changes: object) -> Result:
    backbone = {"name": "vit", "mean": [0.5, 0.5, 0.5], "image_size": image_size}
    return some_result(
        method, last_acc=last_acc, configuration={"epochs": 4, "backbone": backbone, "weights": weights} | changes
    )


PRE_TRAINED = [
    pre_trained("seq_ft", "supervised.safetensors", 0.3),
    pre_trained("slca", "supervised.safetensors", 0.7),
    pre_trained("joint", "supervised.safetensors", 0.8),
    pre_trained("seq_ft", "moco.safetensors", 0.2),
    pre_trained("slca", "moco.safetensors", 0.6),
    pre_trained("slca", "moco.safetensors", 0.5, backbone_lr=0.001),
]


def test_settings_are_told_apart_by_as_little_as_will_do() -> None:
    assert set(settings(RESULTS).values()) == {""}
    assert list(settings(PRE_TRAINED).values()) == [
        "weights supervised.safetensors, backbone_lr –",
        "weights moco.safetensors, backbone_lr –",
        "weights moco.safetensors, backbone_lr 0.001",
    ]
    larger = [pre_trained("slca", "a", 0.5), pre_trained("slca", "a", 0.5, image_size=224)]
    assert list(settings(larger).values()) == ["image_size 112", "image_size 224"]


def test_what_a_protocol_changes_of_one_method_alone_is_no_setting() -> None:
    both = [pre_trained("slca", "a", 0.7), pre_trained("slca++", "a", 0.6, symmetric_cross_entropy=[0.5, 0.5])]
    assert set(settings(both).values()) == {""}
    assert side_by_side(rows(both)) == []
    other = pre_trained("slca++", "a", 0.5, symmetric_cross_entropy=[1.0, 0.1])
    assert [row.setting for row in rows([*both, other])] == [
        "symmetric_cross_entropy –",
        "symmetric_cross_entropy 0.5,0.5",
        "symmetric_cross_entropy 1.0,0.1",
    ]
    elsewhere = pre_trained("slca++", "b", 0.6, symmetric_cross_entropy=[0.5, 0.5])
    assert [row.setting for row in rows([both[0], elsewhere])] == ["weights a", "weights b"]


def test_methods_stand_side_by_side_under_each_setting(tmp_path: Path) -> None:
    assert side_by_side(rows(RESULTS)) == []
    assert side_by_side(rows(PRE_TRAINED[:5])) == [
        ["setting", "seq_ft", "slca", "joint"],
        ["weights supervised.safetensors", "30.0 / 70.0", "70.0 / 70.0", "80.0 / 70.0"],
        ["weights moco.safetensors", "20.0 / 70.0", "60.0 / 70.0", ""],
    ]
    page = write_report(PRE_TRAINED[:5], tmp_path, "everclass bench").read_text()
    table = (tmp_path / "table.md").read_text()
    assert "| weights moco.safetensors | 20.0 / 70.0 | 60.0 / 70.0 |  |" in table
    assert "<td>weights moco.safetensors</td><td>20.0 / 70.0</td>" in page
    assert "| slca | weights moco.safetensors | 60.0 |" in table


def test_runs_under_different_settings_are_not_averaged_in_plots(tmp_path: Path) -> None:
    write_report(PRE_TRAINED[:5], tmp_path, "everclass bench")
    assert len(list((tmp_path / "plots").iterdir())) == 4 + 5


def test_no_value_is_no_figure() -> None:
    assert figure([None, None]).text(unit=" s") == "–"


def test_a_figure_says_of_how_many_of_the_seeds_it_is() -> None:
    assert figure([0.5, None]).text() == "50.0 (1 of 2)"
    assert figure([0.5, 0.7, None]).text(1, 1, " s") == "0.6 ± 0.1 s (2 of 3)"
    assert figure([0.5, 0.5]).text() == "50.0 ± 0.0"


def test_what_was_measured_of_one_seed_does_not_pass_for_all_of_them(tmp_path: Path) -> None:
    seeds = [
        some_result(probe=[0.9, 0.8], oracle=[0.9, 0.7]),
        some_result(seed=1996, novelty_auroc=[None, None]),
        some_result(seed=1997, calibration_error=[None, None]),
    ]
    page = write_report(seeds, tmp_path, "everclass bench").read_text()
    shown = ["15.0 ± 0.0 (2 of 3)", "90.0 ± 0.0 (2 of 3)", "80.0 (1 of 3)", "70.0 (1 of 3)"]
    assert f"| {' | '.join(shown)} |" in (tmp_path / "table.md").read_text()
    assert "".join(f"<td>{one}</td>" for one in shown) in page
    lines = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert [line["probe"] for line in lines] == ["0.9000 0.8000", "", ""]


def test_scores_by_other_rules_are_left_out() -> None:
    older = [
        some_result(seed=1996, inputs={}),
        some_result(seed=1997, inputs={"rules": RULES | {"novelty_auroc": "before"}}),
    ]
    (row,) = rows([some_result(), *older])
    assert (row.calibration_error.seeds, row.novelty_auroc.seeds, row.last_acc.seeds) == (2, 1, 3)


def test_the_table_says_what_is_a_mean_over_tasks_and_what_holds_after_the_last(tmp_path: Path) -> None:
    page = write_report(RESULTS, tmp_path, "everclass bench").read_text()
    table = (tmp_path / "table.md").read_text()
    for name in ("calibration error", "AUROC of unknown"):
        assert f"| {name} (mean over tasks) |" in table and f"<th>{name} (mean over tasks)</th>" in page
    for name in ("probe", "oracle"):
        assert f"| {name} (after the last task) |" in table and f"<th>{name} (after the last task)</th>" in page
    assert LEGEND in table and LEGEND in unescape(page)


def test_both_accuracies_after_the_last_task_are_told_where_tasks_differ_in_size(tmp_path: Path) -> None:
    uneven = [
        some_result(last_acc=0.60, task_mean=0.55, test_images=[40, 10]),
        some_result(seed=1996, last_acc=0.62, task_mean=0.59, test_images=[40, 10]),
        some_result("joint", matrix=[[0.6]], test_images=[50]),
    ]
    page = write_report([*uneven, some_result(protocol="even")], tmp_path, "everclass bench").read_text()
    table = (tmp_path / "table.md").read_text()
    assert "| method | Last-Acc | Last-Acc (task-weighted) | Inc-Acc |" in table
    assert "| slca | 61.0 ± 1.4 | 57.0 ± 2.8 | 70.0 ± 0.0 |" in table and "| joint | 60.0 | – | 70.0 |" in table
    assert "| method | Last-Acc | Inc-Acc |" in table
    assert page.count("<th>Last-Acc (task-weighted)</th>") == 1 and "<td>57.0 ± 2.8</td>" in page


def test_rows_of_lines_of_other_code_or_torch_say_so(tmp_path: Path) -> None:
    def of(method: str, seed: int, **versions: str) -> Result:
        return some_result(method, seed, versions=versions)

    lines = [
        *(of("slca", seed, code=code, torch="2.15.0") for seed, code in ((1993, "a"), (1996, "b"), (1997, "b"))),
        *(of("sl", seed, torch=torch) for seed, torch in ((1993, "2.14.1"), (1996, "2.15.0"))),
        *(of("ncm", seed, code="a", torch="2.15.0") for seed in (1993, 1996)),
        *(of("lda", seed, code=code, torch="2.15.0") for seed, code in ((1993, "b"), (1996, "a"))),
        of("fixed", 1993, torch="2.15.0"),
        of("fixed", 1996, code="a", torch="2.15.0"),
    ]
    page = write_report(lines, tmp_path, "everclass bench").read_text()
    shown = {
        "slca": ("1993, 1996, 1997 [1]", "[1] Of 2 versions of the code."),
        "sl": ("1993, 1996 [2]", "[2] Of torch 2.14.1 and 2.15.0."),
        "ncm": ("1993, 1996", None),
        "lda": ("1993, 1996 [1]", None),
        "fixed": ("1993, 1996 [3]", "[3] Of at least 2 versions of the code."),
    }
    table = (tmp_path / "table.md").read_text()
    for method, (seeds, note) in shown.items():
        (row,) = (line for line in table.splitlines() if line.startswith(f"| {method} |"))
        assert row.endswith(f"| {seeds} |") and f"<td>{seeds}</td>" in page
        assert note is None or (f"\n{note}\n" in table and page.count(f"<p>{note}</p>") == 1)
    (both,) = rows([of("sl", 1993, code="a", torch="2.14.1"), of("sl", 1996, code="b", torch="2.15.0")])
    assert both.mixed == "2 versions of the code and torch 2.14.1 and 2.15.0"


def test_the_page_stands_alone_and_escapes_what_it_shows(tmp_path: Path) -> None:
    page = write_report(RESULTS, tmp_path, "everclass bench --method 'sl<b>'").read_text()
    assert not re.search(r"https?://|<script|<link", page)
    assert "<b>" not in page and "sl&lt;b&gt;" in page
    assert page.count("data:image/png;base64,") == len(list((tmp_path / "plots").iterdir())) == 4 + 3
    for text in ("65.0 ± 7.1", "training, s", "&#34;epochs&#34;: 4", "torch", "<p>slca, sl&lt;b&gt;, joint</p>"):
        assert text in page


def test_the_page_shows_the_numbers_of_each_method() -> None:
    memory = {"is": "DarkExperience", "alpha": 0.3, "capacity": 1000}
    method = {"is": "Method", "memory": memory, "tuner": {"is": "Lora<1>", "layers": ["qkv", "fc1"]}, "joint": False}
    results = [some_result("der++", inputs={"method": method}), some_result("sl"), some_result("sl", 1996)]
    page = as_html(results, rows(results), {}, "everclass bench")
    assert "<details><summary>der++</summary>" in page and page.count("<summary>sl") == 0
    made_of = page.partition("<h3>What each method is made of</h3>")[2]
    assert re.findall("<tr><td>([^<]*)</td><td>([^<]*)</td></tr>", made_of) == [
        ("memory", "DarkExperience"),
        ("memory.alpha", "0.3"),
        ("memory.capacity", "1000"),
        ("tuner", "Lora&lt;1&gt;"),
        ("tuner.layers", "qkv,fc1"),
        ("joint", "False"),
    ]
    assert "Results of older code do not say it of sl." in " ".join(page.split())


def test_numbers_that_are_not_of_all_seeds_say_of_which_they_are() -> None:
    def of(seed: int, **inputs: object) -> Result:
        return some_result(seed=seed, inputs=inputs)

    small, large = {"is": "Method", "later_pace": 0.5}, {"is": "Method", "later_pace": 1.0}
    results = [of(1993, method=small), of(1996, method=small), of(1997, method=large)]
    assert numbers_of_methods(results) == {
        "slca, seeds 1993, 1996": [("later_pace", "0.5")],
        "slca, seeds 1997": [("later_pace", "1.0")],
    }
    assert numbers_of_methods(results[:2]) == {"slca": [("later_pace", "0.5")]}
    assert list(numbers_of_methods([results[0], of(1996)])) == ["slca, seeds 1993"]
    assert without_numbers([results[0], of(1996)]) == [] and without_numbers([of(1996)]) == ["slca"]


def test_the_table_for_programs_has_a_line_for_each_run(tmp_path: Path) -> None:
    write_report(RESULTS, tmp_path, "everclass bench")
    lines = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert [line["method"] for line in lines] == ["slca", "slca", "sl<b>", "joint"]
    assert lines[0]["curve"] == "0.8000 0.6000" and lines[0]["training_s"] == "10.0"
    assert lines[0]["probe"] == "0.9000 0.8000" and lines[0]["oracle"] == "- -" and lines[1]["probe"] == ""
    assert lines[3]["inc_acc"] == ""
    assert lines[0]["setting"] == "" and lines[0]["matrix"] == "0.8000; 0.7000 0.5000"
    assert lines[3]["matrix"] == "0.9000"
    assert lines[0]["kept_bytes"] == str(RESULTS[0].kept_bytes)
    assert len(lines[0]["calibration_error"].split()) == len(RESULTS[0].calibration_error)


def test_each_task_has_its_figures_over_seeds_made_of_the_matrices(tmp_path: Path) -> None:
    def learned(seed: int, *rates: list[float], method: str = "slca") -> Result:
        return some_result(method, seed, matrix=list(rates), test_images=[10] * len(rates), curve=[0.5] * len(rates))

    runs = [
        learned(1993, [0.8], [0.9, 0.6], [0.7, 0.7, 0.5]),
        learned(1996, [0.8], [0.7, 0.6], [0.6, 0.4, 0.5]),
        learned(1993, [0.8], [0.4, 0.6], [0.2, 0.1, 0.5], method="sl"),
        learned(1993, [0.9], method="joint"),
    ]
    after, up_to, forgotten, carried = by_task(runs).items()
    assert after == (
        "Last-Acc after each task",
        [
            ["method", "task 1", "task 2", "task 3"],
            ["slca", "80.0 ± 0.0", "70.0 ± 7.1", "56.7 ± 9.4"],
            ["sl", "80.0", "50.0", "26.7"],
        ],
    )
    assert up_to[1][2] == ["sl", "80.0", "65.0", "52.2"]
    assert forgotten == (
        "forgetting of each task",
        [["method", "task 1", "task 2"], ["slca", "20.0 ± 0.0", "10.0 ± 14.1"], ["sl", "60.0", "50.0"]],
    )
    assert carried[1][1:] == [["slca", "-15.0 ± 7.1", "-5.0 ± 21.2"], ["sl", "-60.0", "-50.0"]]
    page = write_report(runs, tmp_path, "everclass bench").read_text()
    assert "<summary>backward transfer to each task</summary>" in page and "<td>-15.0 ± 7.1</td>" in page
    lines = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert [line["forgetting_by_task"] for line in lines] == ["0.2000 0.0000", "0.2000 0.2000", "0.6000 0.5000", ""]
    assert lines[0]["backward_transfer_by_task"] == "-0.1000 0.1000"
    assert by_task(runs[3:]) == {} and "Each task, in order" not in as_html(runs[3:], rows(runs[3:]), {}, "bench")


def test_each_task_has_its_figures_under_each_setting_and_of_the_seeds_that_have_it() -> None:
    shorter = some_result(matrix=[[0.8], [0.6, 0.5]], test_images=[10, 10], configuration={"tasks": 2})
    longer = some_result(matrix=[[0.8], [0.7, 0.5], [0.7, 0.5, 0.1]], test_images=[10] * 3, configuration={"tasks": 3})
    assert by_task([shorter, longer])["forgetting of each task"] == [
        ["method", "task 1", "task 2"],
        ["slca (tasks 2)", "20.0", ""],
        ["slca (tasks 3)", "10.0", "0.0"],
    ]


def test_the_table_for_people_has_a_row_for_each_method(tmp_path: Path) -> None:
    write_report(RESULTS, tmp_path, "everclass bench")
    table = (tmp_path / "table.md").read_text()
    assert table.startswith("    everclass bench")
    assert "| slca | 65.0 ± 7.1 |" in table


def test_nothing_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no results"):
        write_report([], tmp_path, "everclass bench")


def test_other_weights_or_images_under_the_same_names_are_rows_of_their_own() -> None:
    def of(weights: str, data: str, **changes: object) -> Result:
        return some_result(inputs={"weights": weights * 64, "data": data * 64}, **changes)

    both = [of("a", "d"), of("b", "d")]
    assert [row.setting for row in rows(newest(both))] == ["weights_digest aaaaaaaa", "weights_digest bbbbbbbb"]
    assert [row.setting for row in rows(newest([*both, of("b", "e")]))][
        -1
    ] == "weights_digest bbbbbbbb, data_digest " + 8 * "e"
    other = of("b", "d", configuration={"epochs": 8})
    assert [row.setting for row in rows([both[0], other])] == ["epochs 4", "epochs 8"]
    assert [row.setting for row in rows([of("a", "d"), some_result(seed=1996)])] == [""]


def test_a_line_that_says_its_inputs_takes_the_place_of_an_older_one_that_does_not() -> None:
    old, new = some_result(), some_result(inputs={"weights": "a", "data": "d"})
    other = some_result(inputs={"weights": "b", "data": "d"})
    assert newest([old, new, other, new]) == [new, other]


def test_each_run_says_its_protocol_and_setting_where_there_are_several() -> None:
    several = [*PRE_TRAINED[:4], some_result(protocol="other")]
    page = as_html(several, rows(several), {}, "everclass bench")
    assert "<th>protocol</th><th>setting</th><th>seed</th>" in page
    assert "<td>made</td><td>weights moco.safetensors</td><td>1993</td>" in page
    assert "<td>other</td><td></td><td>1993</td>" in page
    settings = [line["setting"] for line in csv.DictReader(io.StringIO(as_csv(several)))]
    assert settings[2:] == ["weights supervised.safetensors", "weights moco.safetensors", ""]
    assert "<th>method</th><th>seed</th>" in as_html(RESULTS, rows(RESULTS), {}, "everclass bench")


def test_the_page_says_of_which_images_and_device_the_figures_are() -> None:
    said = {"classes": 4, "train_images": 40, "test_images": 8, "note": "Split by a rule.", "device": "a CPU <1>"}
    both = [some_result(inputs=said), some_result("sl")]
    page = as_html(both, rows(both), {}, "everclass bench")
    assert page.count("<p>4 classes, 40 training and 8 test images. Split by a rule.</p>") == 1
    assert "<th>method</th><th>device</th><th>seed</th>" in page and "<td>a CPU &lt;1&gt;</td>" in page
