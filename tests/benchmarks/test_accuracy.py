"""The benchmark of accuracy: every head of one slow learner, on a small CIFAR-100 of made pictures."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks.accuracy import heads, scores
from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy.experiments import Setting
from benchmarks.accuracy.heads import judged
from benchmarks.accuracy.left_out import STRENGTHS, remaining_movement
from everclass.bench.kept_features import Run, runs
from everclass.bench.results import read
from everclass.main import cli
from model import paper
from model.aligners import ClosedFormAligner
from model.statistics.drift import RidgeDrift, RidgeMap
from tests import tiny_weights
from tests.model.pictures import made
from tests.threads import one_thread

__all__ = ["one_thread"]

CLASSES = 6


def cifar(folder: Path) -> Path:
    """The binary version, of so many classes and images that each of them has a look of its own."""
    folder.mkdir()
    (folder / "fine_label_names.txt").write_text("\n".join(f"c{one}" for one in range(CLASSES)))
    for part, each, seed in (("train", 8, 1), ("test", 5, 2)):
        pictures, labels = made(range(CLASSES), each, seed)
        classes = [int(label.removeprefix("c")) for label in labels]
        records = [
            bytes([0, one]) + pixels_HWC.transpose(2, 0, 1).tobytes()
            for one, pixels_HWC in zip(classes, pictures, strict=True)
        ]
        (folder / f"{part}.bin").write_bytes(b"".join(records))
    return folder


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What both commands understand."""
    folder = tmp_path_factory.mktemp("inputs")
    return [
        *("--data", str(cifar(folder / "data")), "--weights", str(tiny_weights.make("test_vit", folder))),
        *("--seeds", "1", "--tasks", "3", "--train-per-class", "8", "--test-per-class", "5", "--epochs", "2"),
        *("--image-size", "32", "--backbone", "test_vit", "--precision", "fp32", "--threads", "1"),
    ]


@pytest.fixture(scope="module")
def folder(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one seed left its figures and its features."""
    folder = tmp_path_factory.mktemp("accuracy")
    others = ["--features", str(folder / "features"), "--out", str(folder / "out")]
    CliRunner().invoke(main, [*options, *others], catch_exceptions=False)
    return folder


@pytest.fixture(scope="module")
def ran(folder: Path) -> tuple[dict[str, Any], Run]:
    """What one seed found by head, and the features that it left."""
    (run,) = runs(folder / "features")
    found = json.loads((folder / "out.json").read_text())
    return found["seeds"][str(paper.SEEDS[0])]["heads"], run


@pytest.mark.parametrize(
    ("head", "setting"),
    [
        ("slow learner alone", Setting(None)),
        ("nearest mean", Setting(ClosedFormAligner("nearest_mean"))),
        ("linear discriminant", Setting(ClosedFormAligner("lda"))),
        ("linear discriminant, statistics carried", Setting(ClosedFormAligner("lda"), RidgeDrift())),
    ],
)
def test_kept_features_make_the_heads_that_the_run_itself_had(
    ran: tuple[dict[str, Any], Run], head: str, setting: Setting
) -> None:
    found, run = ran
    assert found[head]["overall"] == pytest.approx(judged(run, setting).accuracies, abs=1e-4)


def test_figures_of_another_recipe_are_not_written_over(folder: Path, options: list[str]) -> None:
    before = (folder / "out.json").read_bytes()
    said = json.loads(before)["seeds"][str(paper.SEEDS[0])]
    assert said["packages"]["torch"] == torch.__version__.partition("+")[0]
    done = CliRunner().invoke(main, [*options, "--epochs", "3", "--out", str(folder / "out")])
    assert done.exit_code == 2 and "out.json is of another recipe (plan): name another file" in done.stderr
    assert (folder / "out.json").read_bytes() == before


def test_experiments_that_the_features_have_no_views_for_are_left_out_unless_they_are_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "EXPERIMENTS", {name: heads.EXPERIMENTS[name] for name in ("views", "decay")})
    asked = ["--features", str(folder / "features"), "--out", str(tmp_path / "tables.md")]
    done = CliRunner().invoke(heads.main, asked, catch_exceptions=False)
    assert done.exit_code == 0 and "views is left out: these features hold no middle_new_ND" in done.stderr
    written = (tmp_path / "tables.md").read_text()
    assert "## decay" in written and "## views" not in written and written.count("| by the ") == 2
    named = CliRunner().invoke(heads.main, [*asked, "--experiment", "views"])
    assert named.exit_code == 1 and "keep those of a method with +views" in named.stderr
    assert (tmp_path / "tables.md").read_text() == written


def test_a_dash_stands_where_one_of_two_runs_has_no_such_views(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in (folder / "features").iterdir():
        with np.load(file) as kept:
            np.savez(other / file.name, **kept, middle_new_ND=kept["new_ND"])
    views = heads.EXPERIMENTS["views"]
    monkeypatch.setattr(
        heads, "EXPERIMENTS", {"views": replace(views, settings=dict(list(views.settings.items())[2:4]))}
    )
    asked = ["--features", str(folder / "features"), "--features", str(other)]
    lines = CliRunner().invoke(heads.main, asked, catch_exceptions=False).stdout.splitlines()
    assert "| setting | features: sl, seeds 1993 | other: sl, seeds 1993 |" in lines
    one_view, two_views = (line.removesuffix(" |").split(" | ")[1:] for line in lines if ", carried, " in line)
    assert one_view[0] == one_view[1] == two_views[1] and two_views[0] == "–"


def test_before_the_first_tuning_serves_the_discriminant_of_the_backbone_as_it_came(
    ran: tuple[dict[str, Any], Run], options: list[str], tmp_path: Path
) -> None:
    arguments = ["--protocol", "cifar100", "--method", "lda", "--device", "cpu", "--out", str(tmp_path)]
    CliRunner().invoke(cli, ["bench", *options, *arguments], catch_exceptions=False)
    (plain,) = read(tmp_path / "results.jsonl")
    found, _ = ran
    for head in ("discriminant before tuning", "discriminant before tuning, carried"):
        assert [len(row) for row in found[head]["accuracy"]] == [1, 2, 3]
        assert found[head]["accuracy"][0] == pytest.approx(plain.matrix[0], abs=1e-4)


def test_a_class_that_is_left_out_is_carried_by_the_map_of_the_others(ran: tuple[dict[str, Any], Run]) -> None:
    _, run = ran
    kept = run.tasks[1]
    classes = [kept["columns_N"] == column for column in np.unique(kept["columns_N"])]
    moved = [(kept["new_ND"] - kept["old_ND"])[mine_N].mean(axis=0) for mine_N in classes]
    for strength, part in zip(STRENGTHS, remaining_movement(kept), strict=True):
        maps = [RidgeMap.fit(kept["old_ND"][~mine_N], kept["new_ND"][~mine_N], strength) for mine_N in classes]
        left = [
            (kept["new_ND"] - kept["old_ND"] @ one.matrix_DD)[mine_N].mean(axis=0)
            for one, mine_N in zip(maps, classes, strict=True)
        ]
        assert part == pytest.approx(np.square(left).sum() / np.square(moved).sum(), rel=1e-3)


def test_a_run_that_no_head_can_be_made_of_spoils_no_other(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = tmp_path / "features"
    shutil.copytree(folder / "features", features)
    for file in list(features.iterdir()):
        with np.load(file) as arrays:
            kept = dict(arrays)
        wide = {name: np.tile(kept[name], 2) for name in ("old_ND", "new_ND", "test_ND")}
        np.savez(features / file.name.replace("sl-", "ease-"), **{**kept, **wide})
    monkeypatch.setattr(heads, "EXPERIMENTS", {"decay": heads.EXPERIMENTS["decay"]})
    asked = ["--features", str(features)]
    both = CliRunner().invoke(heads.main, asked, catch_exceptions=False)
    assert both.exit_code == 0 and "ease, seed 1993, is left out: each task makes its features longer" in both.stderr
    assert "| setting | sl, seeds 1993 |" in both.stdout
    alone = CliRunner().invoke(heads.main, [*asked, "--run", "ease"])
    assert alone.exit_code == 1 and "there is no run that heads can be made of" in alone.stderr
    dimension = kept["new_ND"].shape[1]
    shorter = CliRunner().invoke(heads.main, [*asked, "--leading", str(dimension)], catch_exceptions=False)
    assert shorter.exit_code == 0 and "ease, seeds 1993" in shorter.stdout


def test_scores_are_told_of_the_heads_and_the_numbers_that_are_asked_for(folder: Path, tmp_path: Path) -> None:
    asked = ["--features", str(folder / "features"), "--head", "ours", "--leading", "8"]
    asked += ["--out", str(tmp_path / "out.md")]
    done = CliRunner().invoke(scores.main, asked, catch_exceptions=False)
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| sl, seed 1993, ")]
    told = {row[2]: row[3:] for row in rows if row[1] == "ours"}
    assert {row[0] for row in rows} == {"sl, seed 1993, 8 features, 8 images a class"} and len(told) + 1 == len(rows)
    plain, doubled = (told[name] for name in ("fitted on samples of new images", "that times 2.0"))
    assert float(doubled[0]) == pytest.approx(2 * float(plain[0]), abs=0.011)
    assert float(doubled[1].split()[0]) == pytest.approx(float(plain[1].split()[0]) / 2, abs=0.011)
    assert told["best on the test images"][1] == "1.00 (1.00 to 1.00)"
    assert (tmp_path / "out.md").read_text().rstrip() == done.stdout.rstrip()
