"""One command that compares all methods: each is learned, judged, written down and shown."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from everclass.main import cli
from model.aligners import RandomProjectionAligner
from model.methods import METHODS, method_named
from tests import tiny_weights
from tests.model.pictures import made

ALIGNED = ("lora+ca", "dualprompt+ca", "ewc+ca", "der+++ca", "sl+++ca")
CLASSES, EACH = 4, 5
LEAST_OF_FOUR = 0.75
"""Of patterns of colour, one picture of each judged, where the head needs no training."""


def affordable(name: str) -> str:
    """Of 10,000 random projections a core solves for half a minute, however few images there are."""
    return f"{name}+m2000" if isinstance(METHODS[name].aligner, RandomProjectionAligner) else name


NAMES = (*map(affordable, METHODS), *ALIGNED)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def done(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What the command said."""
    folder = tmp_path_factory.mktemp("inputs")
    weights = tiny_weights.make("test_vit", folder)
    arguments = [
        *("--protocol", "folder", "--data", str(patterns(folder / "data")), "--sizes", "2,2", "--seeds", "1"),
        *("--backbone", "test_vit", "--weights", str(weights), "--image-size", "32", "--precision", "fp32"),
        *("--recipe", "small", "--epochs", "1", "--batch", "8", "--threads", "1", "--out", str(out)),
    ]
    methods = [word for name in NAMES for word in ("--method", name)]
    return CliRunner().invoke(cli, ["bench", *arguments, *methods], catch_exceptions=False)


def patterns(folder: Path) -> Path:
    pictures, labels = made(range(CLASSES), EACH)
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def found(done: Result, out: Path) -> dict[str, dict[str, Any]]:
    """The one line of each method."""
    assert done.exit_code == 0, done.stderr
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert sorted(line["method"] for line in lines) == sorted(NAMES)
    return {line["method"]: line for line in lines}


def test_nothing_is_left_unfinished(found: dict[str, dict[str, Any]], out: Path) -> None:
    assert not list((out / "unfinished").glob("*"))


@pytest.mark.parametrize("name", NAMES)
def test_the_line_of_each_method_is_whole(name: str, found: dict[str, dict[str, Any]]) -> None:
    line = found[name]
    tasks = 1 if name == "joint" else 2
    assert [len(row) for row in line["matrix"]] == list(range(1, 1 + tasks))
    judged = np.array([one for row in line["matrix"] for one in row])
    assert ((judged >= 0) & (judged <= 1)).all() and line["last_acc"] == pytest.approx(np.mean(line["matrix"][-1]))
    assert {"features", "evaluation"} <= line["seconds"].keys() and min(line["peak_bytes"].values()) > 0


def test_methods_whose_heads_need_no_training_tell_patterns_apart(found: dict[str, dict[str, Any]]) -> None:
    aligners = {name: method_named(name).aligner for name in NAMES}
    closed = [name for name, aligner in aligners.items() if aligner is not None and "head" not in aligner.reads]
    assert len(closed) > 10 and min(found[name]["last_acc"] for name in closed) >= LEAST_OF_FOUR


@pytest.mark.parametrize("name", NAMES)
def test_the_report_has_a_row_of_each_method(name: str, done: Result, out: Path) -> None:
    """On the terminal and on the page."""
    assert done.stdout.count(f"\n| {name} | ") == 1
    assert f">{name}<" in (out / "report.html").read_text()
