"""Methods that are not the default go through the same story on a server."""

from pathlib import Path

import numpy as np
import pytest

from model.snapshot import Snapshot
from stream.manifest import load_manifest, load_parts
from tests.digits import labelled
from tests.service.learner.world import World


def snapshot_of(world: World, number: int) -> Snapshot:
    manifest = load_manifest(world.blobs, world.ledger.version(number).digest)
    return Snapshot.from_parts(load_parts(world.blobs, manifest, manifest.parts), manifest.description)


@pytest.mark.parametrize("method", ["slca++", "lora+ca", "ssf+ca", "slca+drift+cofima+spread"])
def test_tuned_weights_are_folded_and_served_as_a_plain_backbone(method: str, tmp_path: Path, seed: Path) -> None:
    world = World.new(tmp_path, seed, method=method)
    try:
        _, (_, final) = world.learn(labelled(0, 1, count=12))
        assert final.state == "ready"
        _, (_, second) = world.learn(labelled(2, 3, count=12))
        assert second.state == "ready" and second.labels == ("0", "1", "2", "3")
        first, last = snapshot_of(world, final.version), snapshot_of(world, second.version)
        assert first.backbone.keys() == last.backbone.keys() and last.method == method
        moved = [name for name, tensor in last.backbone.items() if not np.array_equal(tensor, first.backbone[name])]
        assert moved
    finally:
        world.close()


def test_a_head_in_closed_form_on_a_backbone_that_stands_still_is_final_at_once(tmp_path: Path, seed: Path) -> None:
    world = World.new(tmp_path, seed, method="lda")
    try:
        for digits in ((0, 1), (2, 3)):
            task, (version,) = world.learn(labelled(*digits, count=12))
            assert (task.state, version.kind, version.state) == ("done", "final", "ready")
        assert version.labels == ("0", "1", "2", "3")
    finally:
        world.close()


@pytest.mark.parametrize("method", [None, "slca"])
def test_a_lineage_that_keeps_images_learns_no_more_once_that_is_not_allowed(
    method: str | None, tmp_path: Path, seed: Path
) -> None:
    world = World.new(tmp_path, seed, method="der++", learn__allow_images=True)
    _, (*_, before) = world.learn(labelled(0, 1, count=12))
    world.close()
    world = World.new(tmp_path, **({} if method is None else {"method": method}))
    try:
        task, versions = world.learn(labelled(2, 3, count=12))
        assert task.state == "failed" and versions == []
        assert task.reason is not None and "keeps images of earlier tasks" in task.reason
        assert "learn.allow_images" in task.reason and f"version {before.version}" in task.reason
    finally:
        world.close()
    world = World.new(tmp_path, learn__allow_images=True)
    try:
        world.ledger.retry(task.id)
        world.learn_all()
        assert world.ledger.task(task.id).state == "done"
    finally:
        world.close()


@pytest.mark.parametrize("method", ["der++", "bic", "bic+ca"])
def test_a_class_whose_images_are_kept_is_forgotten_with_them(method: str, tmp_path: Path, seed: Path) -> None:
    world = World.new(tmp_path, seed, method=method, learn__allow_images=True)
    try:
        world.learn(labelled(0, 1, count=12))
        _, (*_, full) = world.learn(labelled(2, 3, count=12))
        before = snapshot_of(world, full.version)
        forgotten = world.ledger.forget("1", by="test", purge=True)
        world.learn_all()
        done = world.ledger.task(forgotten.id)
        assert done.state == "done", done.reason
        after = snapshot_of(world, done.versions[-1])
        kept = before.kept["memory/columns_N"] != 1
        columns_N = before.kept["memory/columns_N"][kept]
        assert after.labels == ("0", "2", "3")
        assert after.kept["memory/columns_N"].tolist() == (columns_N - (columns_N > 1).long()).tolist()
        assert after.kept["memory/sides_N2"].tolist() == before.kept["memory/sides_N2"][kept].tolist()
        _, (*_, last) = world.learn(labelled(5, count=12))
        assert last.state == "ready" and last.labels == ("0", "2", "3", "5")
        assert set(snapshot_of(world, last.version).kept["memory/columns_N"].tolist()) == {0, 1, 2, 3}
    finally:
        world.close()


def test_a_memory_of_images_goes_on_through_a_task_of_one_class(tmp_path: Path, seed: Path) -> None:
    world = World.new(tmp_path, seed, method="der++", learn__allow_images=True)
    try:
        task, (version,) = world.learn(labelled(2, count=12))
        assert (task.state, version.kind) == ("done", "final")
        assert set(snapshot_of(world, version.version).kept["memory/columns_N"].tolist()) == {0}
        _, (_, second) = world.learn(labelled(5, count=12))
        assert set(snapshot_of(world, second.version).kept["memory/columns_N"].tolist()) == {0, 1}
    finally:
        world.close()
