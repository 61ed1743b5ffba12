"""What counts as done: the same protocol, images, weights and configuration, and all that was asked for."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from html import unescape
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from everclass.bench.chain import Extras, Listener
from everclass.bench.code import code
from everclass.bench.comparison import compare
from everclass.bench.inputs import as_plain, data_digest, device_name
from everclass.bench.prepared import prepare
from everclass.bench.progress import ABOUT, ASKED_OTHERWISE, DAMAGED, DAMAGED_EPOCH, EPOCH, OTHER_CODE, TASK
from everclass.bench.report import rows, write_report
from everclass.bench.report.tables import as_markdown
from everclass.bench.request import BenchRequest
from everclass.bench.results import RULES, Result, append, newest, read
from model.aligners import GaussianAligner
from model.method import Method
from model.methods import METHODS
from model.training.tuning import TuningProgress
from stream.protocols import Part, read_dataset
from tests import tiny_weights
from tests.stream.protocols import made

NOTHING = Extras()


@pytest.fixture
def wanted(tmp_path: Path) -> BenchRequest:
    return asked(tmp_path)


def asked(folder: Path) -> BenchRequest:
    """The nearest mean on pictures and weights that are made there."""
    data = made.tree(folder / "data", {f"class {number}": 5 for number in range(4)})
    weights = tiny_weights.make("test_vit", folder / "weights")
    return BenchRequest(
        "folder", data, ("ncm",), (1993,), "test_vit", weights, tasks=2, image_size=32, recipe="small", threads=1
    )


def lines(request: BenchRequest, out: Path, extras: Extras = NOTHING) -> list[Result]:
    """All lines after one more comparison."""
    compare(prepare(request), out, lambda names, seed, tasks: Listener(), extras)
    return read(out / "results.jsonl")


def other_weights(request: BenchRequest, folder: Path) -> Path:
    """A file of the same name with another class token."""
    other = folder / "elsewhere" / "test_vit.safetensors"
    other.parent.mkdir()
    state = load_file(str(request.weights))
    save_file({name: 2 * value if name == "cls_token" else value for name, value in state.items()}, other)
    return other


def test_the_same_again_is_done_and_so_is_it_where_an_older_line_says_less(
    wanted: BenchRequest, tmp_path: Path
) -> None:
    (line,) = lines(wanted, tmp_path / "out")
    assert lines(wanted, tmp_path / "out") == [line]
    append(tmp_path / "older" / "results.jsonl", replace(line, inputs={}))
    assert len(lines(wanted, tmp_path / "older")) == 1


def test_another_protocol_is_another_run(wanted: BenchRequest, tmp_path: Path) -> None:
    lines(wanted, tmp_path / "out")
    found = lines(replace(wanted, protocol="imagenet_r"), tmp_path / "out")
    assert [line.protocol for line in found] == ["folder", "imagenet_r"]


def test_other_images_are_another_run_and_a_row_of_their_own(wanted: BenchRequest, tmp_path: Path) -> None:
    lines(wanted, tmp_path / "out")
    other = made.tree(tmp_path / "other", {f"class {number}": 6 for number in range(4)})
    found = lines(replace(wanted, data=other), tmp_path / "out")
    assert len(found) == 2 and as_markdown(rows(found), "").count("| ncm | data_digest ") == 2


def test_other_weights_of_the_same_name_are_another_run_and_a_row_of_their_own(
    wanted: BenchRequest, tmp_path: Path
) -> None:
    (first,) = lines(wanted, tmp_path / "out")
    again = lines(replace(wanted, weights=other_weights(wanted, tmp_path)), tmp_path / "out")
    assert len(again) == 2 and again[1].configuration == first.configuration
    assert as_markdown(rows(again), "").count("| ncm | weights_digest ") == 2


def test_a_data_set_may_move_but_not_change(wanted: BenchRequest, tmp_path: Path) -> None:
    def digest(folder: Path, part: Part | None = None) -> str:
        return data_digest(read_dataset("folder", folder, part))

    before = digest(wanted.data)
    moved = shutil.copytree(wanted.data, tmp_path / "moved")
    assert digest(moved) == before != digest(moved, Part(train_per_class=2))
    with (moved / "class 1" / "000.jpg").open("ab") as file:
        file.write(b"\0")
    assert digest(moved) != before


@pytest.mark.parametrize("write", [made.cifar_pickles, made.cifar_binary])
def test_images_in_memory_are_told_apart_by_their_bytes(tmp_path: Path, write: object) -> None:
    assert callable(write)
    few, many = (read_dataset("cifar100", write(tmp_path / str(each), each)) for each in (4, 5))
    again = read_dataset("cifar100", tmp_path / "4")
    assert data_digest(few) == data_digest(again) != data_digest(many)
    again.train.sources[0][0, 0, 0] ^= 1  # type: ignore[index]
    assert data_digest(few) != data_digest(again)


def test_telling_known_from_unknown_is_done_only_where_it_was_asked_for(wanted: BenchRequest, tmp_path: Path) -> None:
    unknown = Extras(unknown=True)
    (plain,) = lines(wanted, tmp_path / "out")
    again = lines(wanted, tmp_path / "out", unknown)
    assert plain.novelty_auroc == [None, None] and again[1].novelty_auroc[0] is not None
    assert lines(wanted, tmp_path / "out", unknown) == again
    append(tmp_path / "older" / "results.jsonl", replace(again[1], inputs={"rules": again[1].inputs["rules"]}))
    assert len(lines(wanted, tmp_path / "older", unknown)) == 1
    nothing_to_come = replace(wanted, tasks=1)
    assert len(lines(nothing_to_come, tmp_path / "one", unknown)) == 1
    assert len(lines(nothing_to_come, tmp_path / "one", unknown)) == 1


def test_unknown_images_told_by_another_rule_are_told_again_where_it_is_asked(
    wanted: BenchRequest, tmp_path: Path
) -> None:
    (line,) = lines(wanted, tmp_path / "new", Extras(unknown=True))
    assert line.inputs["rules"] == RULES
    other = replace(line, inputs=line.inputs | {"rules": RULES | {"novelty_auroc": "before"}})
    append(tmp_path / "out" / "results.jsonl", other)
    assert lines(wanted, tmp_path / "out") == [other]
    assert lines(wanted, tmp_path / "out", Extras(unknown=True))[1].inputs == line.inputs


def test_a_run_that_is_made_again_says_no_less_than_before(wanted: BenchRequest, tmp_path: Path) -> None:
    lines(wanted, tmp_path / "out", Extras(measures=("probe",)))
    again = lines(wanted, tmp_path / "out", Extras(unknown=True))
    assert len(again) == 2 and again[1].measured == {"probe", "unknown"} and again[1].probe == again[0].probe
    assert len(lines(wanted, tmp_path / "out", Extras(measures=("probe",)))) == 2


def test_only_the_newest_line_of_a_run_counts_as_done(wanted: BenchRequest, tmp_path: Path) -> None:
    (line,) = lines(wanted, tmp_path / "out", Extras(measures=("probe",)))
    append(tmp_path / "out" / "results.jsonl", replace(line, probe=[]))
    assert lines(wanted, tmp_path / "out", Extras(measures=("probe",)))[2].probe == line.probe


def test_training_that_diverges_costs_no_other_method_its_figures(wanted: BenchRequest, tmp_path: Path) -> None:
    request = replace(wanted, methods=("sl", "slca", "ncm"), epochs=1, batch=8, backbone_lr=1e20)
    for _ in range(2):
        outcome = compare(prepare(request), tmp_path / "out", lambda names, seed, tasks: Listener(), NOTHING)
        assert set(outcome.failed) == {"sl, seed 1993", "slca, seed 1993"}
        assert outcome.failed["sl, seed 1993"] == "training diverged: a feature is not a finite number"
        assert [one.method for one in outcome.results] == ["ncm"]
        assert outcome.results == read(tmp_path / "out" / "results.jsonl")
    alone = replace(request, methods=("sl",))
    nothing = compare(prepare(alone), tmp_path / "alone", lambda names, seed, tasks: Listener(), NOTHING)
    assert not nothing.results and set(nothing.failed) == {"sl, seed 1993"}


def test_features_are_done_only_where_their_files_are(wanted: BenchRequest, tmp_path: Path) -> None:
    both, features = replace(wanted, methods=("ncm", "lda")), Extras(features=tmp_path / "features")
    assert len(lines(both, tmp_path / "out")) == 2
    assert len(lines(both, tmp_path / "out", features)) == 4
    kept = sorted((tmp_path / "features").iterdir())
    assert [path.name for path in kept] == ["ncm-seed1993-task0.npz", "ncm-seed1993-task1.npz"]
    assert len(lines(replace(wanted, methods=("lda",)), tmp_path / "out", features)) == 4
    kept[1].unlink()
    assert len(lines(both, tmp_path / "out", features)) == 6
    with np.load(kept[0]) as arrays:
        others = {**arrays, "origin": np.array("another run's")}
    np.savez(kept[0], **others)
    assert len(lines(both, tmp_path / "out", features)) == 8
    assert len(lines(both, tmp_path / "out", features)) == 8


class Stopped(Exception):
    pass


def stopped(request: BenchRequest, out: Path) -> None:
    """One more comparison that is stopped in its last task."""

    def stop(task: int, accuracy: object) -> None:
        if task == 1:
            raise Stopped

    with pytest.raises(Stopped):
        compare(prepare(request), out, lambda names, seed, tasks: Listener(on_task=stop), NOTHING)


@pytest.mark.parametrize("name", ["unknown", "features"])
def test_a_stopped_run_does_not_go_on_as_one_that_is_asked_for_more(
    wanted: BenchRequest, tmp_path: Path, name: str
) -> None:
    stopped(wanted, tmp_path / "out")
    more = Extras(unknown=True) if name == "unknown" else Extras(features=tmp_path / "features")
    (line,) = lines(wanted, tmp_path / "out", more)
    if name == "unknown":
        assert line.novelty_auroc[0] is not None
    else:
        assert len(list((tmp_path / "features").iterdir())) == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("nothing", []),
        ("another method beside it", [ASKED_OTHERWISE.format("ncm")]),
        ("another method", []),
        ("unknown images", [ASKED_OTHERWISE.format("ncm")]),
        ("another seed", []),
        ("another size", []),
    ],
)
def test_of_a_stopped_run_that_is_not_gone_on_with_its_user_is_told(
    wanted: BenchRequest, tmp_path: Path, change: str, told: list[str]
) -> None:
    stopped(wanted, tmp_path / "out")
    asked = {
        "another method beside it": replace(wanted, methods=("ncm", "lda")),
        "another method": replace(wanted, methods=("lda",)),
        "another seed": replace(wanted, seeds=(1996,)),
        "another size": replace(wanted, image_size=48),
    }.get(change, wanted)
    notices: list[str] = []
    listener = Listener(on_notice=notices.append)
    extras = Extras(unknown=change == "unknown images")
    compare(prepare(asked), tmp_path / "out", lambda names, seed, tasks: listener, extras)
    assert notices == told


def test_a_line_says_what_it_was_made_from(wanted: BenchRequest, tmp_path: Path) -> None:
    request = replace(wanted, methods=("slca++",), epochs=1, batch=8, device="cpu")
    (line,) = lines(request, tmp_path / "out")
    said, method = line.inputs, line.inputs["method"]
    assert (said["classes"], said["train_images"], said["test_images"], said["micro_batch"]) == (4, 16, 4, 32)
    assert "No published split" in said["note"] and said["device"] == device_name("cpu")
    page = unescape(write_report([line], tmp_path / "out", "").read_text())
    assert f"4 classes, 16 training and 4 test images. {said['note']}" in page
    assert method["objective"] == {"is": "SymmetricCrossEntropy", "a": 1.0, "b": 0.1}
    assert method["aligner"]["plan"]["weight_decay"] == 5e-4
    assert "everclass" in line.versions and line.versions["code"] == code()["code"]


@pytest.mark.parametrize("name", METHODS)
def test_the_numbers_of_each_method_are_plain_and_tell_it_from_others(name: str) -> None:
    plain = as_plain(METHODS[name])
    assert json.loads(json.dumps(plain)) == plain and " at 0x" not in json.dumps(plain)
    assert all(as_plain(other) != plain for key, other in METHODS.items() if key != name)


def test_a_result_counts_the_images_that_come_in_its_tasks(wanted: BenchRequest, tmp_path: Path) -> None:
    (line,) = lines(replace(wanted, tasks=None, sizes=(2, 1)), tmp_path / "out")
    assert [line.inputs[name] for name in ("classes", "train_images", "test_images")] == [3, 12, 3]


def test_joint_training_is_said_to_have_one_task(wanted: BenchRequest, tmp_path: Path) -> None:
    told: dict[str, int] = {}

    def listener(names: str, seed: int, tasks: int) -> Listener:
        told[names] = tasks
        return Listener()

    compare(prepare(replace(wanted, methods=("ncm", "joint"), epochs=1, batch=8)), tmp_path / "out", listener, NOTHING)
    assert told == {"ncm": 2, "joint": 1}


def test_every_phase_keeps_to_the_threads_that_were_asked_for(wanted: BenchRequest, tmp_path: Path) -> None:
    before, seen = torch.get_num_threads(), set[int]()
    listener = Listener(on_phase=lambda task, phase: seen.add(torch.get_num_threads()))
    compare(
        prepare(replace(wanted, threads=before + 1)), tmp_path / "out", lambda names, seed, tasks: listener, NOTHING
    )
    assert seen == {before + 1}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("what", ["nothing", "protocol", "data", "weights"])
def test_a_stopped_run_goes_on_only_with_the_same_protocol_images_and_weights(
    wanted: BenchRequest, tmp_path: Path, what: str
) -> None:
    stopped(wanted, tmp_path / "out")
    changed = {
        "nothing": wanted,
        "protocol": replace(wanted, protocol="imagenet_r"),
        "data": replace(wanted, data=made.tree(tmp_path / "other", {f"class {number}": 6 for number in range(4)})),
        "weights": replace(wanted, weights=other_weights(wanted, tmp_path)),
    }[what]
    tasks: list[int] = []
    seen = Listener(on_task=lambda task, accuracy: tasks.append(task))
    compare(prepare(changed), tmp_path / "out", lambda names, seed, total: seen, NOTHING)
    assert tasks == ([1] if what == "nothing" else [0, 1])


def with_alignment(epochs: int) -> Method:
    """`slca` with so many epochs of alignment."""
    method = METHODS["slca"]
    assert isinstance(method.aligner, GaussianAligner)
    return replace(method, aligner=replace(method.aligner, plan=replace(method.aligner.plan, epochs=epochs)))


def test_other_numbers_under_the_same_name_are_to_be_run_and_take_the_place_of_the_old_ones(
    wanted: BenchRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = replace(wanted, methods=("slca",), epochs=1, batch=8)
    (old,) = lines(request, tmp_path / "out", Extras(measures=("probe",)))
    append(tmp_path / "older" / "results.jsonl", replace(old, inputs={}))
    monkeypatch.setitem(METHODS, "slca", with_alignment(2))
    _, new = lines(request, tmp_path / "out")
    assert new.inputs["method"]["aligner"]["plan"]["epochs"] == 2 and new.configuration == old.configuration
    assert new.measured == {"probe"} and newest([old, new]) == [new]
    assert lines(request, tmp_path / "out") == [old, new]
    assert len(lines(request, tmp_path / "older")) == 1


@pytest.mark.parametrize("change", ["nothing", "code", "packages", "numbers", "older"])
def test_a_stopped_run_goes_on_only_with_the_same_code_packages_and_numbers_else_it_says_so(
    wanted: BenchRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    request = replace(wanted, methods=("slca",), epochs=1, batch=8)
    stopped(request, tmp_path / "out")
    (about,) = (tmp_path / "out" / "unfinished").glob("*/chain.json")
    if change == "code":
        about.write_text(about.read_text().replace(code()["code"], "0" * 12))
    elif change == "packages":
        timm_now = f'"timm": "{version("timm")}"'
        assert timm_now in about.read_text()
        about.write_text(about.read_text().replace(timm_now, '"timm": "0.0.1"'))
    elif change == "numbers":
        monkeypatch.setitem(METHODS, "slca", with_alignment(2))
    elif change == "older":
        about.unlink()
    tasks: list[int] = []
    told: list[str] = []
    listener = Listener(on_task=lambda task, accuracy: tasks.append(task), on_notice=told.append)
    compare(prepare(request), tmp_path / "out", lambda names, seed, total: listener, NOTHING)
    assert (tasks, told) == (([1], []) if change == "nothing" else ([0, 1], [OTHER_CODE]))
    assert not list((tmp_path / "out" / "unfinished").iterdir())


def damaged(path: Path) -> None:
    """Half of it is there."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def changed(path: Path) -> None:
    """One of its last bytes is another."""
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


@dataclass(frozen=True)
class StoppedInTraining:
    """A comparison that was stopped in its last task's second epoch, its folder, and the line of one that was not."""

    request: BenchRequest
    out: Path
    whole: Result

    def copied(self, out: Path) -> Path:
        """The whole folder again, there; its unfinished run."""
        (folder,) = (shutil.copytree(self.out, out) / "unfinished").iterdir()
        return folder


@pytest.fixture(scope="module")
def in_training(tmp_path_factory: pytest.TempPathFactory) -> StoppedInTraining:
    folder = tmp_path_factory.mktemp("stopped")
    request = replace(asked(folder), methods=("slca",), epochs=2, batch=8)
    (whole,) = lines(request, folder / "whole")

    def stop(task: int, told: TuningProgress) -> None:
        if task == 1 and told.epoch == 1:
            raise Stopped

    out = folder / "out"
    with pytest.raises(Stopped):
        compare(prepare(request), out, lambda names, seed, tasks: Listener(on_step=stop), NOTHING)
    (unfinished,) = (out / "unfinished").iterdir()
    assert {TASK, EPOCH, ABOUT} < {path.name for path in unfinished.iterdir()}
    return StoppedInTraining(request, out, whole)


@pytest.mark.parametrize("spoil", [damaged, changed, Path.unlink])
@pytest.mark.parametrize("name", [ABOUT, TASK, EPOCH, "a part"])
def test_what_is_damaged_of_a_stopped_run_costs_time_alone(
    in_training: StoppedInTraining, tmp_path: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    folder = in_training.copied(tmp_path / "out")
    parts = sorted(path for path in folder.iterdir() if path.name not in (ABOUT, TASK, EPOCH))
    spoil(parts[0] if name == "a part" else folder / name)
    steps: list[tuple[int, int]] = []
    told: list[str] = []
    listener = Listener(on_step=lambda task, now: steps.append((task, now.epoch)), on_notice=told.append)
    compare(prepare(in_training.request), tmp_path / "out", lambda names, seed, total: listener, NOTHING)
    gone = spoil is Path.unlink
    again, notices = {
        ABOUT: ((0, 0), [OTHER_CODE if gone else DAMAGED]),
        TASK: ((0, 0), [] if gone else [DAMAGED]),
        EPOCH: ((1, 0), [] if gone else [DAMAGED_EPOCH]),
        "a part": ((0, 0), [DAMAGED]),
    }[name]
    assert (steps[0], told) == (again, notices)
    (line,) = read(tmp_path / "out" / "results.jsonl")
    assert line.matrix == in_training.whole.matrix and not list((tmp_path / "out" / "unfinished").iterdir())


def test_a_damaged_run_of_another_request_keeps_nothing_from_its_report(wanted: BenchRequest, tmp_path: Path) -> None:
    stopped(wanted, tmp_path / "out")
    (kept,) = (tmp_path / "out" / "unfinished").iterdir()
    damaged(kept / ABOUT)
    assert len(lines(replace(wanted, methods=("lda",)), tmp_path / "out")) == 1
    assert list((tmp_path / "out" / "unfinished").iterdir()) == [kept]


def test_what_was_unfinished_of_a_run_goes_with_the_run_that_does_as_much_or_more(
    wanted: BenchRequest, tmp_path: Path
) -> None:
    unfinished = tmp_path / "out" / "unfinished"
    stopped(wanted, tmp_path / "out")
    (kept,) = unfinished.iterdir()
    shutil.copytree(kept, tmp_path / "copy")
    lines(replace(wanted, methods=("lda",)), tmp_path / "out")
    assert list(unfinished.iterdir()) == [kept]
    lines(wanted, tmp_path / "out", Extras(unknown=True))
    assert not list(unfinished.iterdir())
    # As a kill between the lines and the removal of the folder leaves it.
    shutil.copytree(tmp_path / "copy", kept)
    lines(wanted, tmp_path / "out")
    assert not list(unfinished.iterdir())


def test_what_is_unfinished_stays_while_only_lines_of_another_seed_or_other_numbers_are_there(
    wanted: BenchRequest, tmp_path: Path
) -> None:
    (line,) = lines(wanted, tmp_path / "whole")
    for name, there in {
        "another": [replace(line, seed=1996)],
        "numbers": [replace(line, inputs={"method": {}})],
    }.items():
        stopped(wanted, tmp_path / name)
        append(tmp_path / name / "results.jsonl", *there)
        lines(replace(wanted, methods=("lda",)), tmp_path / name)
        assert len(list((tmp_path / name / "unfinished").iterdir())) == 1
