"""A learner turns tasks into versions: real digits through timm's tiny ViT, a real database and a real folder."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model.backbones.backbone import build, extract_features
from model.backbones.seen import PairedFeatures, Seen
from model.methods import DEFAULT_OF_TRANSFORMERS
from model.pixels.images import decode
from model.pixels.preprocess import evaluation_view, middle_view, turned_view
from model.snapshot import Snapshot
from model.statistics.drift import RidgeDrift
from service.learner import process, reporter
from service.learner.bases import new_root
from service.learner.publishing import seen_through
from stream.blobs import FolderBlobs
from stream.errors import Unavailable
from stream.ledger import Lease
from stream.manifest import load_manifest, load_parts, part_key
from stream.tasks import Item, Phase
from stream.versions import Version
from tests import tiny_weights
from tests.digits import labelled
from tests.service.learner import hesitant
from tests.service.learner.world import World

TURNED = "slca+drift+turned+warm+views"


@pytest.fixture
def world(tmp_path: Path, seed: Path) -> Iterator[World]:
    with_gate_off = World.new(tmp_path, seed)
    yield with_gate_off
    with_gate_off.close()


def snapshot(world: World, version: Version) -> Snapshot:
    manifest = load_manifest(world.blobs, version.digest)
    return Snapshot.from_parts(load_parts(world.blobs, manifest, manifest.parts), manifest.description)


def test_each_task_makes_a_provisional_and_a_final_version_on_the_one_before(world: World) -> None:
    first, (provisional, final) = world.learn(labelled(0, 1, count=20))
    assert (first.state, first.progress, first.attempts) == ("done", 1.0, 1)
    assert [provisional.kind, final.kind] == ["provisional", "final"]
    assert [provisional.parent, final.parent] == [None, None]
    second, (again, last) = world.learn(labelled(2, 3, count=20))
    assert second.base == final.version
    assert [again.parent, last.parent] == [final.version, final.version]
    assert last.labels == ("0", "1", "2", "3")
    assert [(one.since, one.images) for one in last.classes] == [
        (first.id, 18),
        (first.id, 18),
        (second.id, 18),
        (second.id, 18),
    ]
    assert [row.task for row in last.accuracy_per_task] == [first.id, second.id]
    assert (last.forgetting is not None and last.calibration_error is None) or last.calibration_error >= 0
    serving = world.ledger.serving()
    assert serving is not None and serving.version == last.version
    assert [epoch.epoch for epoch in second.epochs] == [1, 2]


@pytest.mark.parametrize("rate", [1e-12, 1e-2])
def test_the_backbone_moves_only_where_more_images_are_answered(tmp_path: Path, seed: Path, rate: float) -> None:
    """One rate moves nothing; whether the other gains anything is for the held-out half to say.

    Without second views the standing backbone answers as the provisional version does.
    """
    options = {"learn__move_backbone": "if_better", "learn__backbone_lr": rate, "learn__held_out": 0.5}
    world = World.new(tmp_path, seed, method="slca+drift+warm", **options)
    _, (provisional, final) = world.learn(labelled(0, 1, 2, 3, 4, 5, 6, 7, count=16))
    judged = final.gate["backbone"]
    moved, standing = judged["accuracy_moved"], judged["accuracy_standing"]
    assert judged["images"] == 64 and judged["moved"] == (moved > standing)
    assert final.accuracy == max(moved, standing) and provisional.accuracy == standing
    before, after = (snapshot(world, one) for one in (provisional, final))
    stands = all(np.array_equal(before.backbone[part], after.backbone[part]) for part in before.backbone)
    assert stands == (not judged["moved"]) and (stands or rate > 1e-6)
    assert provisional.gate["backbone"] is None
    _, (_, later) = world.learn(labelled(8, 9, count=16))
    assert later.gate["backbone"]["images"] == 80 and len(later.labels) == 10
    world.close()


def test_a_first_task_goes_on_with_the_features_and_the_method_that_it_began_with(tmp_path: Path, seed: Path) -> None:
    world = World.new(tmp_path, seed, learn__epochs=40)
    sent = world.send(labelled(0, 1, count=10))
    world.run_until(lambda: world.ledger.checkpoint(sent.id) is not None)
    assert not world.ledger.task(sent.id).state.finished
    world.close()
    told_otherwise = World.new(tmp_path, learn__epochs=40, pooling="pretrained", method="slca")
    told_otherwise.learn_all()
    task = told_otherwise.ledger.task(sent.id)
    assert task.state == "done", task.reason
    final = snapshot(told_otherwise, told_otherwise.ledger.version(task.versions[-1]))
    assert (final.spec.pooling, final.aligned.feature_dim) == ("token+avg", 128)
    assert final.method == DEFAULT_OF_TRANSFORMERS
    told_otherwise.close()


@pytest.mark.parametrize(("pooling", "length"), [("pretrained", 64), ("token+avg", 128), (None, 128)])
def test_two_tasks_are_learned_on_features_of_either_pooling(tmp_path: Path, pooling: str | None, length: int) -> None:
    world = World.new(tmp_path, pooling=pooling)
    for digits in ((0, 1), (2, 3)):
        task, (_, final) = world.learn(labelled(*digits, count=12))
        assert (task.state, final.state) == ("done", "ready")
    last = snapshot(world, final)
    assert last.spec.pooling == (pooling or "token+avg")
    assert last.aligned.feature_dim == last.statistics.dimension == length
    world.close()


def test_a_task_whose_loss_runs_away_fails_and_says_so(tmp_path: Path, seed: Path) -> None:
    world = World.new(tmp_path, seed, learn__head_lr=1e30)
    task, versions = world.learn(labelled(0, 1, count=10))
    assert task.state == "failed"
    assert "a lower rate may help" in task.reason
    assert [version.kind for version in versions] == ["provisional"]
    world.close()


def test_the_first_final_is_not_aligned_and_later_ones_keep_un_aligned_heads(tmp_path: Path, seed: Path) -> None:
    world = World.new(tmp_path, seed, method="slca")
    _, (_, final) = world.learn(labelled(0, 1, count=20))
    _, (_, last) = world.learn(labelled(2, 3, count=20))
    before, after = snapshot(world, final), snapshot(world, last)
    assert np.array_equal(before.aligned.weight_CD, before.unaligned.weight_CD)
    assert not np.array_equal(after.aligned.weight_CD, after.unaligned.weight_CD)
    assert np.array_equal(after.unaligned.weight_CD[:2], before.unaligned.weight_CD)
    assert np.array_equal(after.statistics.mean_CD[:2], before.statistics.mean_CD)
    world.close()
    moved = [name for name, tensor in after.backbone.items() if not np.array_equal(tensor, before.backbone[name])]
    assert moved


def mean_of_both_views(version: Snapshot, images: list[bytes]) -> np.ndarray:
    network = build(version.spec)
    network.load(version.backbone)
    pictures = [decode(data, max_pixels=10**6) for data in images]
    squares = [view(one, version.spec) for view in (evaluation_view, middle_view) for one in pictures]
    return extract_features(network, iter(squares), batch_size=16).mean(axis=0)


@pytest.mark.parametrize(("rule", "labels"), [("always", (0, 1)), ("if_better", (0, 1)), ("always", (0,))])
def test_final_statistics_are_of_two_views_and_nobody_waits_for_the_second(
    tmp_path: Path, seed: Path, rule: str, labels: tuple[int, ...]
) -> None:
    world = World.new(tmp_path, seed, learn__move_backbone=rule, learn__held_out=0.25)
    images = labelled(*labels, count=16)
    task, versions = world.learn(images)
    held_out = {item.sha256 for item in world.ledger.items(task.id) if item.split == "held_out"}
    trained = [(data, label) for data, label in images if hashlib.sha256(data).hexdigest() not in held_out]
    final = snapshot(world, versions[-1])
    seen_CD = final.statistics.mean_CD
    if len(labels) > 1:
        assert not np.array_equal(snapshot(world, versions[0]).statistics.mean_CD, seen_CD)
    for column, label in enumerate(labels):
        seen_D = mean_of_both_views(final, [data for data, of in trained if of == str(label)])
        np.testing.assert_allclose(seen_CD[column], seen_D, rtol=1e-3, atol=1e-3)
    assert [one.images for one in versions[-1].classes] == [12] * len(labels)
    world.close()


def seen_by(version: Snapshot, images: list[bytes]) -> Seen:
    network = build(version.spec)
    network.load(version.backbone)
    pictures = [decode(data, max_pixels=10**6) for data in images]
    plain_ND, turned_ND = (
        extract_features(network, (view(one, version.spec) for one in pictures), batch_size=16)
        for view in (evaluation_view, turned_view)
    )
    return Seen(plain_ND, {"turned": turned_ND})


@pytest.mark.parametrize("rule", ["always", "if_better"])
def test_old_classes_follow_a_map_of_the_images_as_they_are_and_upside_down(
    tmp_path: Path, seed: Path, rule: str
) -> None:
    world = World.new(tmp_path, seed, method=TURNED, learn__move_backbone="always", learn__held_out=0)
    _, (_, base) = world.learn(labelled(0, 1, count=16))
    world.close()
    world = World.new(tmp_path, method=TURNED, learn__move_backbone=rule, learn__held_out=0)
    images = labelled(2, 3, count=16)
    _, (_, final) = world.learn(images)
    before, after = snapshot(world, base), snapshot(world, final)
    pictures, columns_N = [data for data, _ in images], np.tile([2, 3], 16)
    pair = PairedFeatures(seen_by(before, pictures), seen_by(after, pictures))
    followed = RidgeDrift().fit(*pair.of_drift(columns_N)).carry(before.statistics)
    np.testing.assert_allclose(after.statistics.mean_CD[:2], followed.mean_CD, rtol=1e-3, atol=1e-3)
    plain = PairedFeatures(pair.before.only(()), pair.after.only(())).of_drift(columns_N)
    other_CD = RidgeDrift().fit(*plain).carry(before.statistics).mean_CD
    assert (
        np.abs(after.statistics.mean_CD[:2] - other_CD).max()
        > 10 * np.abs(after.statistics.mean_CD[:2] - followed.mean_CD).max()
    )
    world.close()


@pytest.mark.parametrize(
    ("method", "held_out", "batches"), [(None, 0.25, 3 + 2), (None, 0, 4), (TURNED, 0.25, 5 + 3), (TURNED, 0, 6 + 2)]
)
def test_progress_moves_on_in_every_pass_and_no_rival_is_made_that_nothing_judges(
    tmp_path: Path, seed: Path, monkeypatch: pytest.MonkeyPatch, method: str | None, held_out: float, batches: int
) -> None:
    """24 of 32 images in two views are 48, in batches of 16, and 24 on the standing backbone; or 64 and no more. Turned
    ones are one view more on either.
    """
    monkeypatch.setattr(reporter, "REPORT_EVERY_S", 0.0)
    world = World.new(tmp_path, seed, method=method, learn__move_backbone="if_better", learn__held_out=held_out)
    report, told = world.ledger.report, []

    def noted(lease: Lease, task: str, phase: Phase, progress: float, *more: object) -> None:
        told.append((phase, progress))
        report(lease, task, phase, progress, *more)

    monkeypatch.setattr(world.ledger, "report", noted)
    _, (_, final) = world.learn(labelled(0, 1, count=16))
    steps = [progress for phase, progress in told if phase == Phase.STATISTICS]
    assert len(steps) == 1 + batches and np.all(np.diff(steps) > 0)
    assert steps[-1] == pytest.approx(reporter.SHARES[Phase.STATISTICS][1])
    assert (final.gate["backbone"] is None) == (held_out == 0)
    world.close()


@pytest.mark.parametrize("steps", [10, 50])
def test_a_task_that_is_cancelled_while_its_head_is_aligned_stops_at_the_next_step(
    tmp_path: Path, seed: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """30 steps align the moved backbone's head, as many more the one that it is held against."""
    monkeypatch.setattr(reporter, "REPORT_EVERY_S", 0.0)
    world = World.new(tmp_path, seed, learn__move_backbone="if_better", learn__held_out=0.25)
    report, told = world.ledger.report, []

    def noted(lease: Lease, task: str, phase: Phase, *more: object) -> None:
        if told or phase == Phase.ALIGNMENT:
            told.append(phase)
        if len(told) == steps:
            world.ledger.cancel(task, by="bob")
        report(lease, task, phase, *more)

    monkeypatch.setattr(world.ledger, "report", noted)
    task, versions = world.learn(labelled(0, 1, count=16))
    assert (task.state, [version.kind for version in versions]) == ("cancelled", ["provisional"])
    assert told == [Phase.ALIGNMENT] * steps
    world.close()


def test_one_class_makes_one_final_version_on_the_backbone_as_it_is(world: World) -> None:
    _, (_, base) = world.learn(labelled(0, 1, count=20))
    task, versions = world.learn(labelled(5, count=12))
    assert [version.kind for version in versions] == ["final"]
    assert versions[0].labels == ("0", "1", "5")
    assert task.epochs == ()
    before, after = snapshot(world, base), snapshot(world, versions[0])
    assert all(np.array_equal(tensor, before.backbone[name]) for name, tensor in after.backbone.items())


def test_more_images_of_known_classes_join_their_columns(world: World) -> None:
    world.learn(labelled(0, 1, count=20))
    task, (_, final) = world.learn([*labelled(0, count=10, start=40), *labelled(7, count=10)])
    assert final.labels == ("0", "1", "7")
    assert [one.images for one in final.classes] == [27, 18, 9]
    assert final.classes[0].since != task.id


def test_a_class_of_one_image_is_learned_like_any_other(world: World) -> None:
    _, (_, final) = world.learn([*labelled(0, count=10), *labelled(1, count=1)])
    assert [one.images for one in final.classes] == [9, 1]
    _, (_, after) = world.learn(labelled(2, 3, count=10))
    assert np.isfinite(snapshot(world, after).aligned.weight_CD).all()


def test_the_same_task_from_the_same_base_gives_the_same_bytes(tmp_path: Path, seed: Path) -> None:
    digests = []
    for name in ("one", "two"):
        world = World.new(tmp_path / name, seed)
        for images in (labelled(0, 1, count=12), labelled(2, 3, count=12)):
            _, versions = world.learn(images)
            parts = [load_manifest(world.blobs, version.digest).parts for version in versions]
            digests.append([(role, part.sha256) for named in parts for role, part in sorted(named.items())])
        world.close()
    assert digests[:2] == digests[2:]


def test_a_task_asked_for_by_hand_or_on_another_base_is_held(world: World) -> None:
    _, (_, first) = world.learn(labelled(0, 1, count=10))
    _, (_, second) = world.learn(labelled(2, 3, count=10))
    _, manual = world.learn(labelled(4, 5, count=10), promote="manual")
    assert {version.state for version in manual} == {"held"}
    _, branch = world.learn(labelled(6, 7, count=10), base=first.version)
    assert {(version.state, version.parent) for version in branch} == {("held", first.version)}
    assert branch[-1].labels == ("0", "1", "6", "7")
    serving = world.ledger.serving()
    assert serving is not None and serving.version == second.version


def test_learning_goes_on_from_where_serving_was_rolled_back_to(world: World) -> None:
    _, (_, first) = world.learn(labelled(0, 1, count=10))
    world.learn(labelled(2, 3, count=10))
    world.ledger.move_alias("serving", first.version, by="test", reason=None)
    task, (_, final) = world.learn(labelled(8, 9, count=10))
    assert task.base == first.version
    assert final.labels == ("0", "1", "8", "9")
    assert final.state == "ready"


def test_a_gate_that_refuses_holds_the_version_with_its_figures(tmp_path: Path, seed: Path) -> None:
    world = World.new(tmp_path, seed, gate__enabled=True, gate__strict=True)
    task, versions = world.learn(labelled(0, 1, count=20))
    assert {version.state for version in versions} == {"held"}
    assert task.state == "done"
    assert versions[0].gate["verdict"] == "not_judged"
    assert "gate.strict" in versions[0].reason
    assert world.ledger.serving() is None
    world.close()


def test_a_task_whose_base_is_damaged_fails_with_its_reason_and_its_images(world: World) -> None:
    _, (_, base) = world.learn(labelled(0, 1, count=10))
    part = load_manifest(world.blobs, base.digest).parts["statistics"]
    path = world.blobs.path(part_key(part.sha256))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    task, versions = world.learn(labelled(2, 3, count=10))
    assert (task.state, versions) == ("failed", [])
    assert "damaged" in task.reason
    assert all(world.blobs.exists(item.key(task.id)) for item in world.ledger.items(task.id))


def test_images_that_were_learned_from_go_and_held_out_ones_stay(world: World) -> None:
    task, _ = world.learn(labelled(0, 1, count=20))
    world.learn_all()
    kept = {item.split for item in world.ledger.items(task.id) if world.blobs.exists(item.key(task.id))}
    assert "held_out" in kept


def test_a_new_root_starts_from_the_settings(world: World) -> None:
    world.learn(labelled(0, 1, count=10))
    task, (_, final) = world.learn(labelled(2, 3, count=10), base="none")
    assert (task.base, final.parent, final.labels) == (None, None, ("2", "3"))
    assert final.state == "held"


def test_pictures_sent_again_stay_what_they_were(world: World) -> None:
    first, _ = world.learn(labelled(0, 1, count=20))
    second, _ = world.learn([*labelled(0, 1, count=20), *labelled(2, count=20)])
    splits = {item.pixel_digest: item.split for item in world.ledger.items(first.id)}
    again = {item.pixel_digest: item.split for item in world.ledger.items(second.id)}
    assert {digest: again[digest] for digest in splits} == splits


def test_a_claim_reads_no_images_of_earlier_tasks_but_those_that_judge(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.learn(labelled(0, 1, count=20))
    items, read = world.ledger.items, set()

    def noted(task: str) -> list[Item]:
        read.add(task)
        return items(task)

    monkeypatch.setattr(world.ledger, "items", noted)
    task, _ = world.learn(labelled(2, 3, count=20))
    assert read == {task.id}


def test_a_task_of_which_all_was_held_out_is_tried_again_by_the_rule_of_now(tmp_path: Path, seed: Path) -> None:
    world = World.new(tmp_path, seed, learn__held_out=1.0)
    task, _ = world.learn(labelled(0, 1, count=10))
    assert task.state == "failed" and "every image of the task is held out" in task.reason
    world.close()
    told_otherwise = World.new(tmp_path, learn__held_out=0.1)
    told_otherwise.ledger.retry(task.id)
    told_otherwise.learn_all()
    assert told_otherwise.ledger.task(task.id).state == "done"
    assert [item.split for item in told_otherwise.ledger.items(task.id)].count("held_out") == 2
    told_otherwise.close()


def test_a_task_of_pictures_that_an_earlier_one_holds_out_is_told_which_and_nobody_else_is(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    sent = labelled(0, 1, count=20)
    first, _ = world.learn(sent)
    held = next(item for item in world.ledger.items(first.id) if item.split == "held_out")
    task, versions = world.learn([(sent[held.id][0], "solo")])
    assert (task.state, versions) == ("failed", [])
    assert task.reason is not None and task.reason.startswith("every image of the task is held out")
    assert task.reason.endswith(
        f"1 of 1 are held out by earlier tasks already, the first by task {first.id}, as {held.label!r}"
    )
    told = [record for record in caplog.records if record.name == "service.learner.process"]
    assert [(record.levelname, record.exc_info) for record in told] == [("WARNING", None)]


def test_the_same_weights_at_another_size_are_judged_by_features_of_their_own(tmp_path: Path) -> None:
    weights = tiny_weights.make("test_efficientnet", tmp_path)
    network = {"backbone": "test_efficientnet", "weights": weights}
    small = new_root(World.new(tmp_path / "small", **network, image_size=32).settings)
    large = new_root(World.new(tmp_path / "large", **network, image_size=64).settings)
    assert small.to_parts()["backbone"] == large.to_parts()["backbone"]
    assert seen_through(small) != seen_through(large)
    assert seen_through(small) == seen_through(small.calibrated(2.0, None))


def test_a_backbone_that_cannot_be_exported_fails_its_tasks_and_no_learner(tmp_path: Path) -> None:
    world = World.new(tmp_path, backbone=hesitant.NAME, weights=tiny_weights.make(hesitant.NAME, tmp_path))
    for digits in ((0, 1), (2, 3)):
        task, versions = world.learn(labelled(*digits, count=10))
        assert (task.state, task.attempts, versions) == ("failed", 1, [])
        cannot = f"{hesitant.NAME} cannot be written as an ONNX graph: "
        assert task.reason.startswith(cannot) and task.reason != cannot and "\n" not in task.reason
    world.close()


def test_a_task_waits_while_the_blobs_do_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "UNAVAILABLE_WAIT_S", 0.1)
    task = world.send(labelled(0, 1, count=10))
    away = [Unavailable("the blob store does not answer")] * 3
    got = FolderBlobs.get

    def get(self: FolderBlobs, key: str, *, verify: bool = True) -> bytes:
        if away:
            raise away.pop()
        return got(self, key, verify=verify)

    monkeypatch.setattr(FolderBlobs, "get", get)
    world.learn_all()
    learned = world.ledger.task(task.id)
    assert (away, learned.state) == ([], "done")
    assert learned.attempts > 1
