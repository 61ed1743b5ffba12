"""`everclass bench` as its users run it: a process, real files, a report; killed and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from everclass.commands.bench import bench
from everclass.main import cli
from model.methods import METHODS
from stream.protocols import PROTOCOLS, class_order
from tests import tiny_weights
from tests.stream.protocols import made

LONGEST_S = 120.0


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "everclass.main", "bench", *arguments]


def run(*arguments: str) -> Result:
    """In this process: a new one imports for seconds."""
    return CliRunner().invoke(cli, ["bench", *arguments], catch_exceptions=False)


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    data = made.tree(tmp_path / "data", {f"class {number}": 10 for number in range(4)})
    weights = tiny_weights.make("test_vit", tmp_path)
    return [
        *("--protocol", "folder", "--data", str(data), "--sizes", "2,2", "--backbone", "test_vit"),
        *("--weights", str(weights), "--image-size", "32", "--recipe", "small", "--batch", "8", "--threads", "1"),
        *("--precision", "fp32", "--out", str(tmp_path / "out")),
    ]


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_the_list_names_all_methods_and_protocols() -> None:
    told = run("--list").stdout.splitlines()
    assert told[0] == "Methods: " + ", ".join(METHODS)
    after = told[told.index("Protocols:") + 1 :]
    assert [line.strip().partition(":")[0] for line in after] == list(PROTOCOLS)


def test_the_list_says_which_modifiers_go_with_which_methods() -> None:
    told = run("--list").stdout.splitlines()
    (everywhere,) = (line for line in told if line.startswith("With any of them: "))
    assert everywhere == "With any of them: +ca, +ca_plain, +ca_shrink, +drift, +slower, +views, +turned"
    assert "With any but ease, aper: +warm" in told
    (averaging,) = (line for line in told if line.endswith(": +averaging"))
    assert averaging.startswith("With any but ") and "slca++" in averaging and "ewc" not in averaging
    (cofima,) = (line for line in told if line.endswith(" only: +cofima"))
    assert "ewc" in cofima and "gdumb" not in cofima
    assert "With ranpac, ranpac_frozen, sl+ranpac only: +m2000" in told


def test_a_comparison_ends_in_lines_and_a_report(arguments: list[str], tmp_path: Path) -> None:
    done = run(*arguments, "--method", "sl", "--method", "sl+lda", "--align", "--seeds", "2", "--epochs", "1")
    assert done.exit_code == 0, done.stderr
    found = [(line["method"], line["seed"]) for line in lines(tmp_path / "out")]
    assert sorted(found) == sorted((name, seed) for name in ("sl", "sl+ca", "sl+lda") for seed in (1993, 1996))
    assert "Report: " in done.stdout and "| sl+lda |" in done.stdout
    assert "after task 2" in done.stderr
    assert "--align adds nothing to sl+lda: sl+lda+ca is the same as sl+ca" in done.stderr
    assert (tmp_path / "out" / "report.html").is_file()
    again = run(*arguments, "--method", "sl", "--seeds", "2", "--epochs", "1")
    assert again.exit_code == 0 and len(lines(tmp_path / "out")) == 6
    measured = run(*arguments, "--method", "sl+lda", "--seeds", "1", "--epochs", "1", "--measure", "probe")
    assert measured.exit_code == 0 and len(lines(tmp_path / "out")) == 7
    before, after = (line for line in lines(tmp_path / "out") if (line["method"], line["seed"]) == ("sl+lda", 1993))
    assert after["matrix"] == before["matrix"] and len(after["probe"]) == 2 and after["oracle"] == []
    assert measured.stdout.count("| sl+lda |") == 1
    assert not list((tmp_path / "out" / "unfinished").glob("*"))


def test_what_a_protocol_changes_of_a_method_stands_in_its_configuration(arguments: list[str], tmp_path: Path) -> None:
    both = ("--protocol", "imagenet_r", "--method", "slca++", "--method", "fixed")
    assert run(*arguments, *both, "--seeds", "1", "--epochs", "1").exit_code == 0
    told = {str(line["method"]): line["configuration"] for line in lines(tmp_path / "out")}
    changed = {"symmetric_cross_entropy": [0.5, 0.5], "weight_decay": 0.0}
    assert told["slca++"] == {**told["fixed"], **changed}  # type: ignore[dict-item]
    assert "symmetric_cross_entropy" in (tmp_path / "out" / "report.html").read_text()


def test_a_killed_comparison_goes_on_and_comes_to_the_same(arguments: list[str], tmp_path: Path) -> None:
    wanted = [*arguments, "--method", "slca", "--seeds", "1", "--epochs", "6"]
    with subprocess.Popen(command(*wanted), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + LONGEST_S
        while not list((tmp_path / "out").glob("unfinished/*/epoch.safetensors")):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        second = run(*wanted)
        assert second.exit_code == 2 and "out is in use by another command" in second.stderr
        assert f"--epochs 6 (process {process.pid})" in second.stderr
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "out" / "results.jsonl").exists()
    assert run(*wanted).exit_code == 0
    elsewhere = [str(tmp_path / "whole") if one == str(tmp_path / "out") else one for one in wanted]
    assert run(*elsewhere).exit_code == 0
    (resumed,), (whole,) = lines(tmp_path / "out"), lines(tmp_path / "whole")
    for name in ("last_acc", "inc_acc", "matrix", "configuration", "calibration_error"):
        assert resumed[name] == whole[name]


def test_a_folder_that_is_hardly_the_protocols_is_warned_of(arguments: list[str]) -> None:
    done = run(*arguments, "--protocol", "imagenet_r", "--method", "ncm", "--seeds", "1")
    assert done.exit_code == 0 and "imagenet_r has 200 classes, and there are 4 in " in done.stderr


def test_a_task_that_nothing_can_be_tested_on_is_refused(arguments: list[str], tmp_path: Path) -> None:
    lonely = made.tree(tmp_path / "lonely", {"many": 10, "also many": 10, "one": 1, "another one": 1})
    done = run(*arguments, "--data", str(lonely), "--sizes", "1,1,1,1")
    assert done.exit_code == 2 and "no test image for task" in done.stderr


@pytest.mark.parametrize("protocol", ["folder", "cars196"])
def test_a_protocols_own_tasks_that_do_not_fit_are_refused_with_what_would(
    arguments: list[str], tmp_path: Path, protocol: str
) -> None:
    place = arguments.index("--sizes")
    folder = made.tree(tmp_path / "both", {f"{part}/class {one}": 2 for part in ("train", "test") for one in range(4)})
    whole = [*arguments[:place], *arguments[place + 2 :], "--protocol", protocol, "--data", str(folder)]
    done = run(*whole, "--method", "ncm")
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert "4 classes" in done.stderr
    assert "; say how many with --tasks (up to 4), or their sizes with --sizes" in done.stderr


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--method", "magic"], "there is no method 'magic'"),
        (["--sizes", "3,9"], "do not fit 4 classes"),
        (["--sizes", "3,x"], "'x' is no number"),
        (["--protocol", "cub200"], "there is no such file"),
        (["--protocol", "imagenet"], "--protocol: there is no protocol imagenet: it is one of cifar100, imagenet_r, "),
        (["--backbone", "vit_huge"], "knows no backbone"),
        (["--milestone", "0"], "Invalid value for '--milestone'"),
        (["--milestone", "6", "--milestone", "8", "--epochs", "8"], "--milestone 8: rates would never fall"),
        (["--milestone", "80"], "in 50 epochs; say more of them with --epochs"),
        (["--backbone-lr", "-0.001"], "Invalid value for '--backbone-lr'"),
        (["--backbone-lr", "nan"], "Invalid value for '--backbone-lr'"),
        (["--backbone-lr", "inf"], "Invalid value for '--backbone-lr'"),
        (["--seed", "-1"], "Invalid value for '--seed'"),
        (["--seed", str(2**32)], "Invalid value for '--seed'"),
        (["--device", "gpu"], "--device gpu: nothing can run there"),
        (["--device", "cuda:99"], "--device cuda:99: nothing can run there"),
        (["--device", "meta"], "--device meta: nothing can run there"),
        (["--seed", "7", "--seeds", "2"], "--seeds and --seed exclude each other"),
        (["--tasks", "2"], "--tasks and --sizes exclude each other"),
        (["--image-size", "63"], "--image-size: test_vit takes no images of 63 pixels a side, but of 48 or 64"),
        (["--method", "ncm", "--method", "slca++", "--backbone", "test_efficientnet"], "test_efficientnet"),
        (
            ["--backbone", "test_efficientnet", "--recipe", "reference"],
            "end in a LayerNorm that could be made fresh; --norm pretrained keeps its own, as --recipe small does",
        ),
        (["--features", f"{__file__}/features"], "Invalid value for --features: nothing can be written to"),
        (["--out", f"{__file__}/out"], "Invalid value for --out: nothing can be written to"),
    ],
)
def test_wrong_requests_are_told_and_end_with_2(arguments: list[str], more: list[str], told: str) -> None:
    done = run(*arguments, *more)
    assert done.exit_code == 2 and told in done.stderr
    assert "Traceback" not in done.stderr


def test_without_what_reports_are_made_with_the_extra_is_named_before_anything_is_learned(
    arguments: list[str], tmp_path: Path
) -> None:
    # As Python itself marks what cannot be imported.
    start = "import sys; sys.modules['matplotlib'] = None; from everclass.main import main; main()"
    started = [sys.executable, "-W", "error", "-c", start, "bench"]
    done = subprocess.run([*started, *arguments], capture_output=True, text=True, timeout=LONGEST_S)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "matplotlib" in done.stderr
    assert "pip install 'everclass[bench]'" in done.stderr and not (tmp_path / "out").exists()
    listed = subprocess.run([*started, "--list"], capture_output=True, text=True, timeout=LONGEST_S)
    assert listed.returncode == 0 and "Methods: " in listed.stdout


def test_weights_of_another_network_are_told_in_a_line(arguments: list[str], tmp_path: Path) -> None:
    other = tiny_weights.make("test_efficientnet", tmp_path)
    done = run(*arguments, "--weights", str(other))
    assert done.exit_code == 2 and done.stderr.count("\n") == 1 and len(done.stderr) < 1000
    assert f"--weights: {other}, as weights of test_vit: the weights do not fit the backbone: missing: " in done.stderr


def test_a_method_that_diverges_ends_with_1_after_the_others(arguments: list[str], tmp_path: Path) -> None:
    more = ["--seeds", "1", "--epochs", "1", "--backbone-lr", "1e20", "--method", "sl", "--method", "ncm"]
    done = run(*arguments, *more)
    assert done.exit_code == 1 and "sl, seed 1993: training diverged" in done.stderr
    assert [one["method"] for one in lines(tmp_path / "out")] == ["ncm"]
    assert "ncm" in done.stdout and (tmp_path / "out" / "report.html").exists()


def test_an_image_of_a_later_task_that_cannot_be_read_ends_with_1_and_a_report_of_what_is_done(
    arguments: list[str], tmp_path: Path
) -> None:
    once = [*arguments, "--seeds", "1", "--epochs", "1"]
    assert run(*once, "--method", "ncm").exit_code == 0
    (tmp_path / "out" / "report.html").unlink()
    last = f"class {class_order(1993, 4)[-1]}"
    broken = sorted((tmp_path / "data" / last).iterdir())[0]
    size = broken.stat().st_size
    broken.write_bytes(bytes(size))
    done = run(*once, "--method", "ncm", "--method", "sl", "--method", "slca")
    assert done.exit_code == 1 and f"everclass: {broken}: this image cannot be read: " in done.stderr
    assert [one["method"] for one in lines(tmp_path / "out")] == ["ncm"]
    assert "| ncm |" in done.stdout and (tmp_path / "out" / "report.html").exists()
    alone = run(*once, "--method", "sl", "--out", str(tmp_path / "alone"))
    assert alone.exit_code == 1 and str(broken) in alone.stderr and alone.stdout == ""


def test_features_of_other_settings_are_refused_before_anything_is_learned(
    arguments: list[str], tmp_path: Path
) -> None:
    features = tmp_path / "features"
    once = [*arguments, "--method", "ncm", "--features", str(features)]

    def kept() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in features.iterdir()}

    assert run(*once, "--seeds", "1").exit_code == 0
    before = kept()
    for other in (["--backbone-lr", "0.05"], ["--sizes", "4"], ["--test-per-class", "1"]):
        done = run(*once, "--seeds", "1", *other)
        assert done.exit_code == 2 and done.stderr.count("\n") == 1
        assert f"--features: {features}/ncm-seed1993-task0.npz is of other settings (" in done.stderr
        assert "name another folder" in done.stderr
    assert kept() == before and len(lines(tmp_path / "out")) == 1
    assert run(*once, "--seeds", "2").exit_code == 0
    assert run(*once, "--seeds", "1", "--method", "sl", "--epochs", "1").exit_code == 2
    assert before.items() < kept().items() and len(before) == 2 and len(kept()) == 4


def test_a_rate_that_no_method_listens_to_is_warned_of(arguments: list[str]) -> None:
    once = [*arguments, "--seeds", "1", "--epochs", "1", "--backbone-lr", "0.01"]
    deaf = run(*once, "--method", "ncm", "--method", "seq_ft")
    assert deaf.exit_code == 0 and "--backbone-lr moves none of ncm, seq_ft" in deaf.stderr
    assert "moves none" not in run(*once, "--method", "ncm", "--method", "fsa+lda").stderr


def test_milestones_that_no_method_falls_at_are_warned_of(arguments: list[str]) -> None:
    once = [*arguments, "--seeds", "1", "--epochs", "3", "--milestone", "1"]
    deaf = run(*once, "--method", "ncm", "--method", "sl++")
    assert deaf.exit_code == 0 and "--milestone changes nothing for ncm, sl++" in deaf.stderr
    assert "changes nothing" not in run(*once, "--method", "ncm", "--method", "fsa+lda").stderr


def test_modifiers_that_change_nothing_are_warned_of_and_their_lines_are_the_same(
    arguments: list[str], tmp_path: Path
) -> None:
    names = ("frozen", "frozen+slower", "frozen+drift", "frozen+views")
    methods = [word for name in names for word in ("--method", name)]
    done = run(*arguments, "--seeds", "1", "--epochs", "1", *methods)
    assert done.exit_code == 0 and done.stderr.count("changes nothing") == 2
    for name in ("slower", "drift"):
        assert f"+{name} changes nothing for frozen+{name}\n" in done.stderr
    found = {line["method"]: (line["matrix"], line["calibration_error"]) for line in lines(tmp_path / "out")}
    assert found["frozen"] == found["frozen+slower"] == found["frozen+drift"] != found["frozen+views"]


def test_each_option_says_what_it_is() -> None:
    assert [one.name for one in bench.params if isinstance(one, click.Option) and not one.help] == []
