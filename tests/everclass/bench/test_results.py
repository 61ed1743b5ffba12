"""Lines of results are whole or not there."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from everclass.bench.results import RULES, Result, append, newest, read


def some_result(method: str = "slca", seed: int = 1993, **changes: object) -> Result:
    plain = Result(
        method=method,
        protocol="made",
        seed=seed,
        last_acc=0.6,
        inc_acc=0.7,
        task_mean=0.6,
        forgetting=0.1,
        backward_transfer=-0.1,
        curve=[0.8, 0.6],
        matrix=[[0.8], [0.7, 0.5]],
        test_images=[10, 10],
        train_images=[20, 20],
        seconds={"training": 10.0, "alignment": 1.0},
        peak_bytes={"training": 2**30, "alignment": 2**29},
        kept_bytes=0,
        statistics_bytes=2**20,
        calibration_error=[0.1, 0.2],
        novelty_auroc=[0.9, None],
        probe=[],
        configuration={"epochs": 4},
        inputs={"rules": RULES},
    )
    return replace(plain, **changes)


def test_lines_read_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.jsonl"
    assert read(path) == []
    results = [some_result(), some_result("sl", 1996, inc_acc=None)]
    for result in results:
        append(path, result)
    assert read(path) == results
    told = {"python", "machine", "os", "code", "torch", "pyarrow", "safetensors"}
    assert told <= results[0].versions.keys()
    older = some_result(versions={"python": "3.12.1", "torch": "2.14.1"})
    append(path, older)
    assert read(path)[-1] == older


def test_a_line_that_a_crash_cut_off_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append(path, some_result())
    with path.open("a") as file:
        file.write('{"method": "sl", "prot')
    assert read(path) == [some_result(finished_at=read(path)[0].finished_at)]
    append(path, some_result("sl"))
    assert [result.method for result in read(path)] == ["slca", "sl"]


def test_the_lines_of_a_chain_come_together(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append(path, some_result())
    path.write_bytes(path.read_bytes() + b'{"cut')
    append(path, some_result("sl"), some_result("slca"))
    assert [one.method for one in read(path)][1:] == ["sl", "slca"] and len(list(tmp_path.iterdir())) == 1


def test_a_line_that_is_no_result_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append(path, some_result())
    with path.open("a") as file:
        file.write(json.dumps({"method": "sl"}) + "\n")
    with pytest.raises(ValueError, match="line 2"):
        read(path)


def test_the_newest_line_of_a_run_counts(tmp_path: Path) -> None:
    old, new = some_result(last_acc=0.1), some_result(last_acc=0.2)
    other = some_result(configuration={"epochs": 20})
    assert newest([old, other, new]) == [new, other]


def test_a_file_that_is_no_text_is_told_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append(path, some_result())
    path.write_bytes(path.read_bytes() + b"\xff\xfe{}\n")
    with pytest.raises(ValueError, match=f"line 2 of {path} is no result"):
        read(path)
