"""The demonstration from end to end, with a tiny network in place of the default one."""

import re
import subprocess
import sys
from pathlib import Path

from tests import digits, tiny_weights

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "backbone": "test_vit",
    "image_size": 32,
    "learn.epochs": 2,
    "learn.min_steps": 20,
    "learn.precision": "fp32",
    "learn.threads": 1,
    "gate.enabled": "false",
    "serve.runtime": "onnxruntime",
}


def folder_of_digits(folder: Path, count: int) -> Path:
    for number in range(8):
        (folder / str(number)).mkdir(parents=True)
        for index, data in enumerate(digits.pngs(number)[:count]):
            (folder / str(number) / f"{index}.png").write_bytes(data)
    return folder


def demo(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    pairs = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "everclass.demo", *arguments, *pairs]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=250)


def test_the_story_is_told_to_its_end(tmp_path: Path) -> None:
    images = folder_of_digits(tmp_path / "digits", 20)
    weights = tiny_weights.make("test_vit", tmp_path)
    place = ["--data", str(images), "--tasks", "4", "--data-dir", str(tmp_path / "data"), "--exit"]
    told = demo(*place, **SETTINGS, weights=weights)
    assert told.returncode == 0, told.stdout + told.stderr
    for number, labels in enumerate(("0, 1", "2, 3", "4, 5", "6, 7"), 1):
        assert f"task {number}: 32 images of {labels} sent and safe" in told.stdout
    rolled_back = re.search(r"rolled back from version 8 to version 6, lost: 6, 7", told.stdout)
    assert rolled_back, told.stdout
    assert re.search(r"asked again about 24 images: 24 have the label that version 6 gave then", told.stdout)
    assert "learned on from version 6; classes in force: 0, 1, 2, 3, 4, 5, 6, 7" in told.stdout
    answered = re.search(r"(\d+) predictions answered, none failed", told.stdout)
    assert answered and int(answered[1]) > 20
    table = [line.split() for line in told.stdout.splitlines() if re.match(r"\s*[1-4] +\d, \d", line)]
    assert [row[0] for row in table] == ["1", "2", "3", "4"]
    assert told.stderr == ""


def test_a_server_that_does_not_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    images = folder_of_digits(tmp_path / "digits", 2)
    told = demo("--data", str(images), "--exit", "--data-dir", str(tmp_path / "data"), **{"learn.epochs": 0})
    assert told.returncode == 1
    assert "the server did not start" in told.stderr and "learn.epochs" in told.stderr
