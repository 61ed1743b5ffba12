"""One run of stage 1 serves every method that shares it, and a run that was stopped goes on as if it had not been."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from everclass.bench.chain import Chain, Extras, Listener, stem
from everclass.bench.course import Course
from everclass.bench.kept_features import runs
from everclass.bench.progress import ProgressFolder
from everclass.bench.request import BenchRequest
from everclass.bench.results import Result
from everclass.bench.scoring import TestFeatures
from model.aligners import GaussianAligner
from model.continual import Tuned
from model.method import Aligned, AlignmentTask
from model.methods import method_named
from model.snapshot import Snapshot
from tests.everclass.bench.lessons import TRAINING, course, weights

COURSE = course((0, 1, 2), (3, 4), (5,), (6, 7))


def run(
    names: Sequence[str],
    folder: Path,
    listener: Listener | None = None,
    of: Course = COURSE,
    extras: Extras | None = None,
) -> dict[str, Result]:
    methods = {name: method_named(name) for name in names}
    progress = ProgressFolder(folder, {"methods": list(names)}, {})
    return Chain(methods, of, TRAINING, weights(), progress, listener or Listener(), extras).run()


def figures(result: Result) -> dict[str, object]:
    left_out = ("seconds", "peak_bytes", "finished_at")
    return {name: value for name, value in asdict(result).items() if name not in left_out}


def test_methods_that_share_stage_1_get_the_figures_that_each_gets_alone(tmp_path: Path) -> None:
    names = ["slca", "sl", "slca+drift", "sl+lda", "slca+warm+views", "slca+drift+turned"]
    assert len({stem(method_named(name)) for name in names}) == 1
    together = run(names, tmp_path / "together")
    for name in names:
        assert figures(together[name]) == figures(run([name], tmp_path / name)[name])


@pytest.mark.parametrize("names", [["lwf", "lwf+drift", "lwf+ca"], ["der++", "der+++views"]])
def test_figures_do_not_depend_on_others_where_a_lone_class_has_its_row_of_each_methods_statistics(
    tmp_path: Path, names: list[str]
) -> None:
    unequal = course((0, 1), (2, 3), (4,), (5, 6))
    lead, other, *_ = names
    assert stem(method_named(lead)) != stem(method_named(other))
    assert stem(method_named("lwf")) == stem(method_named("lwf+ca"))
    wanted = BenchRequest("made", tmp_path, tuple(names))
    together: dict[str, Result] = {}
    for number, chain in enumerate(wanted.chains()):
        together |= run(list(chain), tmp_path / f"chain {number}", of=unequal)
    for name in names:
        assert figures(together[name]) == figures(run([name], tmp_path / name, of=unequal)[name])


@dataclass(frozen=True)
class Singular(GaussianAligner):
    """Fails as a covariance that has no inverse does, after task number `fails_in`."""

    fails_in: int = 1

    def align(self, task: AlignmentTask) -> Aligned:
        if task.block == self.fails_in:
            raise np.linalg.LinAlgError("singular matrix")
        return super().align(task)


@pytest.mark.parametrize("order", [("slca", "broken", "sl"), ("broken", "slca", "sl")])
def test_a_head_that_fails_costs_no_method_beside_it_its_figures(tmp_path: Path, order: tuple[str, ...]) -> None:
    named = {name: method_named(name) for name in ("slca", "sl")}
    named["broken"] = replace(named["slca"], aligner=Singular(on_first_task=True, fails_in=2))
    methods = {name: named[name] for name in order}

    def chain(folder: Path, listener: Listener) -> Chain:
        progress = ProgressFolder(folder, {"methods": list(order)}, {})
        return Chain(methods, COURSE, TRAINING, weights(), progress, listener)

    whole = chain(tmp_path / "whole", Listener())
    found = whole.run()
    assert whole.failed == {"broken": "its head could not be made or judged after task 2: singular matrix"}
    alone = run(["slca", "sl"], tmp_path / "alone")
    assert {name: figures(one) for name, one in found.items()} == {name: figures(one) for name, one in alone.items()}

    def stop(task: int, accuracy: Mapping[str, float]) -> None:
        if task == 2:
            raise Stopped

    with pytest.raises(Stopped):
        chain(tmp_path / "stopped", Listener(on_task=stop)).run()
    resumed = chain(tmp_path / "stopped", Listener())
    again = resumed.run()
    assert resumed.failed == whole.failed
    assert {name: figures(one) for name, one in again.items()} == {name: figures(one) for name, one in found.items()}


def test_a_chain_of_which_every_head_fails_ends_there(tmp_path: Path) -> None:
    broken = replace(method_named("slca"), aligner=Singular(on_first_task=True, fails_in=1))
    told: list[int] = []
    chain = Chain(
        {"broken": broken},
        COURSE,
        TRAINING,
        weights(),
        ProgressFolder(tmp_path, {}, {}),
        Listener(on_phase=lambda task, phase: told.append(task)),
    )
    assert chain.run() == {} and set(chain.failed) == {"broken"} and set(told) == {0}


def test_methods_whose_head_nobody_reads_train_none_and_share_nothing_with_those_that_do(tmp_path: Path) -> None:
    assert stem(method_named("ncm")) == stem(method_named("lda")) == stem(method_named("ranpac_frozen"))
    assert stem(method_named("ncm")) != stem(method_named("frozen")) == stem(method_named("fixed"))
    assert stem(method_named("fsa+lda")) == stem(method_named("ranpac"))
    found = run(["ncm", "lda"], tmp_path, of=course((0, 1, 2), (3, 4)))
    assert all("training" not in result.seconds for result in found.values())


def test_a_result_says_how_well_each_task_is_known_after_each(tmp_path: Path) -> None:
    result = run(["slca"], tmp_path)["slca"]
    assert [len(row) for row in result.matrix] == [1, 2, 3, 4]
    assert result.test_images == [15, 10, 5, 10] and result.train_images == [24, 16, 8, 16]
    last = np.average(result.matrix[-1], weights=result.test_images)
    assert result.last_acc == pytest.approx(last) and result.curve[-1] == pytest.approx(last)
    assert result.inc_acc == pytest.approx(np.mean(result.curve))
    assert (result.accuracies.last, result.accuracies.forgetting) == (result.last_acc, result.forgetting)
    assert result.curve[0] > 0.6
    assert all(error is not None and 0 <= error <= 1 for error in result.calibration_error)
    assert result.novelty_auroc == [None] * 4
    assert set(result.seconds) == {"features", "training", "alignment", "evaluation"}
    assert all(value > 2**20 for value in result.peak_bytes.values())
    assert result.statistics_bytes > 0


def test_images_of_classes_to_come_are_told_from_known_ones(tmp_path: Path) -> None:
    aurocs = run(["slca"], tmp_path, extras=Extras(unknown=True))["slca"].novelty_auroc
    assert aurocs[-1] is None
    assert all(value is not None and value > 0.5 for value in aurocs[:-1])


@pytest.mark.parametrize("name", ["ease", "aper"])
def test_of_features_of_several_passes_the_first_tells_known_from_unknown(tmp_path: Path, name: str) -> None:
    result = run([name], tmp_path / name, extras=Extras(unknown=True))[name]
    plain = run(["ncm"], tmp_path / "ncm", extras=Extras(unknown=True))["ncm"]
    assert result.novelty_auroc == plain.novelty_auroc and result.calibration_error == [None] * 4


@pytest.mark.parametrize("name", ["sl", "sl+views", "sl+drift+turned"])
def test_features_are_kept_for_experiments_that_learn_nothing_again(tmp_path: Path, name: str) -> None:
    result = run([name], tmp_path, extras=Extras(features=tmp_path / "features"))[name]
    (found,) = runs(tmp_path / "features")
    assert (found.name, found.seed, len(found.tasks)) == (name, COURSE.seed, len(COURSE.lessons))
    kept = found.tasks[-1]
    logits_NC = kept["test_ND"] @ kept["weight_CD"].T + kept["bias_C"]
    assert (logits_NC.argmax(axis=1) == kept["test_columns_N"]).mean() == pytest.approx(result.last_acc)
    assert kept["old_ND"].shape == kept["new_ND"].shape
    others = {"sl": set(), "sl+views": {"middle_new_ND"}, "sl+drift+turned": {"turned_old_ND", "turned_new_ND"}}[name]
    assert {key for key in kept if key.startswith(("middle", "turned"))} == others
    assert all(kept[key].shape == kept["new_ND"].shape for key in others)


def test_measures_change_nothing_of_what_they_measure(tmp_path: Path) -> None:
    names = ["slca", "sl+lda", "sl"]
    of = course((0, 1, 2), (3, 4))
    plain = run(names, tmp_path / "plain", of=of)
    measured = run(names, tmp_path / "measured", of=of, extras=Extras(measures=("oracle", "probe")))
    for name in names:
        left, right = figures(plain[name]), figures(measured[name])
        assert (left.pop("probe"), left.pop("oracle")) == ([], [])
        probe, oracle = right.pop("probe"), right.pop("oracle")
        assert left == right
        assert probe == measured["slca"].probe and len(measured[name].probe) == 2
        assert oracle == [None, None] if name == "sl" else len(measured[name].oracle) == 2
        assert "measures" not in plain[name].seconds and measured[name].seconds["measures"] > 0
        rest = {phase: value for phase, value in measured[name].seconds.items() if phase != "measures"}
        assert measured[name].method_seconds == pytest.approx(sum(rest.values()))
        assert measured[name].measured == {"probe", "oracle"} and not plain[name].measured
    assert measured["slca"].oracle[0] == measured["slca"].curve[0]
    assert min(measured["slca"].probe) > 0.5


def test_on_a_backbone_that_stands_still_no_statistics_are_stale(tmp_path: Path) -> None:
    result = run(["ncm"], tmp_path, of=course((0, 1, 2), (3, 4)), extras=Extras(measures=("oracle",)))["ncm"]
    assert result.oracle == result.curve and result.probe == []


JUDGING_S = 0.3
"""Longer than what of a chain's time belongs to no phase."""


def test_others_may_judge_by_what_a_method_is_judged_by_and_it_does_not_pay_for_their_time(tmp_path: Path) -> None:
    curve: list[float] = []

    def judge(task: int, tuned: Tuned, snapshots: Mapping[str, Snapshot], test: TestFeatures) -> None:
        snapshot, truth_N = snapshots["slca"], np.concatenate(test.columns(snapshots["slca"]))
        curve.append(float((snapshot.aligned.logits(np.concatenate(test.seen)).argmax(axis=1) == truth_N).mean()))
        assert tuned.block.number == task + 1
        time.sleep(JUDGING_S)

    began = time.perf_counter()
    result = run(["slca"], tmp_path, Listener(on_judged=judge), of=course((0, 1, 2), (3, 4)))["slca"]
    passed = time.perf_counter() - began
    assert curve == pytest.approx(result.curve)
    assert sum(result.seconds.values()) < passed - len(curve) * JUDGING_S + 0.05


class Stopped(Exception):
    pass


PAUSE_S = 0.1
"""Longer than a step of the tiny network takes."""


@pytest.mark.parametrize(("task", "step"), [(0, 5), (1, 3), (3, 4)])
def test_a_stopped_run_goes_on_at_its_last_finished_epoch(tmp_path: Path, task: int, step: int) -> None:
    names = ["slca", "sl"]

    def stop(at: int, progress: object) -> None:
        if at == task:
            time.sleep(PAUSE_S)
            if getattr(progress, "step", 0) >= step:
                raise Stopped

    with pytest.raises(Stopped):
        run(names, tmp_path / "stopped", Listener(on_step=stop))
    checkpoint = ProgressFolder(tmp_path / "stopped", {"methods": names}, {}).epoch(task)
    assert checkpoint is not None
    before, peak = checkpoint.seconds, checkpoint.peak_bytes["training"]
    steps: list[tuple[int, int]] = []
    resumed = run(names, tmp_path / "stopped", Listener(on_step=lambda at, told: steps.append((at, told.step))))
    assert steps[0] == (task, 4 if task == 0 else 3)
    whole = run(names, tmp_path / "whole")
    for name in names:
        assert figures(resumed[name]) == figures(whole[name])
        assert resumed[name].seconds["training"] >= before["training"] >= (steps[0][1] - 1) * PAUSE_S
        assert resumed[name].peak_bytes["training"] >= peak


@pytest.mark.parametrize(("name", "stands"), [("lda", True), ("frozen", True), ("aper", True), ("slca", False)])
def test_a_network_that_stands_sees_a_test_image_once(tmp_path: Path, name: str, stands: bool) -> None:
    first_ND: list[np.ndarray] = []
    of, extras = course((0, 1, 2), (3, 4), (6, 7)), Extras(unknown=True)

    def judge(task: int, tuned: Tuned, snapshots: Mapping[str, Snapshot], test: TestFeatures) -> None:
        first_ND.append(test.seen[0])
        if len(first_ND) == 5:
            raise Stopped

    whole = run([name], tmp_path / "whole", Listener(on_judged=judge), of, extras)
    assert [one is first_ND[0] for one in first_ND] == [True, stands, stands]
    with pytest.raises(Stopped):
        run([name], tmp_path / "stopped", Listener(on_judged=judge), of, extras)
    resumed = run([name], tmp_path / "stopped", Listener(on_judged=judge), of, extras)
    assert figures(resumed[name]) == figures(whole[name])
    assert first_ND[5] is not first_ND[3]
    np.testing.assert_array_equal(first_ND[5], first_ND[1])


def test_joint_training_learns_all_tasks_as_one(tmp_path: Path) -> None:
    result = run(["joint"], tmp_path)["joint"]
    assert len(result.curve) == 1 and result.inc_acc is None and result.forgetting is None
    assert result.test_images == [40] and result.last_acc > 1 / 8


@pytest.mark.parametrize("modifier", ["ca", "ca_plain", "ca_shrink"])
def test_heads_of_joint_training_are_aligned_though_its_task_is_the_first(tmp_path: Path, modifier: str) -> None:
    names = ["joint", f"joint+{modifier}"]
    plain, aligned = run(names, tmp_path).values()
    assert plain.calibration_error != aligned.calibration_error


def test_a_class_that_comes_again_is_judged_in_each_of_its_tasks(tmp_path: Path) -> None:
    result = run(["slca"], tmp_path, of=course((0, 1), (1, 2), (0, 3)))["slca"]
    assert result.test_images == [10, 10, 10]
    assert result.last_acc > 0.5
