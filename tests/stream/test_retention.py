"""One sweep removes what nothing needs, and nothing else."""

import hashlib
import time
from datetime import UTC, datetime, timedelta

import pytest

from stream.alone import TTL_S, alone_with_store
from stream.blobs import Blobs
from stream.errors import LeaseLost
from stream.ledger import Lease, Ledger
from stream.manifest import (
    Manifest,
    Part,
    load_manifest,
    load_parts,
    manifest_key,
    part_key,
    store_version,
)
from stream.retention import IMAGES_GRACE_S, Policy, Swept, clear_unnamed, sweep
from stream.tasks import ItemDraft, NewTask, Task, image_key, new_task_id
from stream.versions import VersionClass, VersionDraft, VersionKind
from tests.stream.conftest import Clock
from tests.stream.stories import in_force, learner

POLICY = Policy(grace_s=3600)

TOMORROW = datetime.now(UTC) + timedelta(days=1)
"""Tests cannot wait for a grace time to pass, and S3 lets nobody set an age: the sweep is told that it is tomorrow."""


def upload(ledger: Ledger, blobs: Blobs, *labels: str) -> Task:
    """A queued task whose images are stored."""
    new = NewTask(new_task_id(), "ann")
    drafts = []
    for label in labels:
        data = f"{new.id} {label}".encode()
        digest = hashlib.sha256(data).hexdigest()
        blobs.put_bytes(image_key(new.id, digest), data)
        drafts.append(ItemDraft(digest, label, len(data), digest))
    return ledger.add_batch(None, drafts, commit=True, new_task=new)


def claim(ledger: Ledger, blobs: Blobs, lease: Lease, *labels: str) -> Task:
    """A task under way whose first image only judges."""
    upload(ledger, blobs, *labels)
    task = ledger.claim(lease)
    assert task is not None
    return ledger.freeze(lease, task.id, {}, {0: "held_out", **dict.fromkeys(range(1, len(labels)), "train")})


def publish(ledger: Ledger, blobs: Blobs, lease: Lease, task: Task, kind: VersionKind) -> Manifest:
    """A version with real parts; provisional and final of a task share their backbone."""
    parts = {"backbone": f"backbone of {task.id}".encode(), "head": f"{kind} head of {task.id}".encode()}
    manifest = Manifest(
        kind=kind,
        task=task.id,
        lineage=(task.id,),
        classes=tuple(VersionClass(label, task.id, 1) for label in task.labels),
        description={},
        parts={role: Part.of(data) for role, data in parts.items()},
    )
    store_version(blobs, manifest, parts)
    digests = tuple(part.sha256 for part in manifest.parts.values())
    draft = VersionDraft(kind, manifest.digest, manifest.size_bytes, digests, manifest.classes)
    ledger.publish(lease, task.id, draft, wanted="serve")
    return manifest


def learn(ledger: Ledger, blobs: Blobs, lease: Lease, *labels: str) -> tuple[Manifest, Manifest]:
    """A task learned to its end."""
    task = claim(ledger, blobs, lease, *labels)
    provisional = publish(ledger, blobs, lease, task, "provisional")
    final = publish(ledger, blobs, lease, task, "final")
    ledger.finish(lease, task.id)
    return provisional, final


def everything(blobs: Blobs) -> set[str]:
    return {blob.key for prefix in ("tasks/", "parts/", "manifests/", "checkpoints/") for blob in blobs.list(prefix)}


def test_after_a_task_is_done_its_final_version_and_judging_images_remain(ledger: Ledger, blobs: Blobs) -> None:
    lease = learner(ledger)
    provisional, final = learn(ledger, blobs, lease, "cat", "dog", "cow")
    swept = sweep(ledger, blobs, lease, POLICY, now=TOMORROW)
    assert (swept.versions, swept.images, swept.blobs) == ((1,), 2, 4)
    assert swept.size_bytes >= provisional.parts["head"].size_bytes
    held_out = [item.key(task) for task, item in ledger.held_out(2)]
    assert len(held_out) == 1
    assert everything(blobs) == {
        manifest_key(final.digest),
        *(part.key for part in final.parts.values()),
        *held_out,
    }
    loaded = load_manifest(blobs, final.digest)
    assert set(load_parts(blobs, loaded, ["backbone", "head"])) == {"backbone", "head"}
    assert in_force(ledger) == 2
    assert sweep(ledger, blobs, lease, POLICY, now=TOMORROW) == Swept((), 0, 0, 0)


def test_what_is_young_stays_even_if_nothing_names_it(ledger: Ledger, blobs: Blobs) -> None:
    lease = learner(ledger)
    provisional, _ = learn(ledger, blobs, lease, "cat")
    blobs.put_bytes("tasks/unknown/image", b"about to be committed")
    swept = sweep(ledger, blobs, lease, POLICY)
    assert (swept.versions, swept.blobs) == ((1,), 0)
    assert blobs.exists(provisional.parts["head"].key)
    assert blobs.exists("tasks/unknown/image")


def test_images_of_a_request_that_is_not_committed_yet_outlast_the_shortest_grace_time(
    ledger: Ledger, blobs: Blobs
) -> None:
    """A sweep falls between the last image that a request stores and the commit that names them all."""
    lease, impatient = learner(ledger), Policy(grace_s=1)
    new, data = NewTask(new_task_id(), "ann"), b"picture"
    digest = hashlib.sha256(data).hexdigest()
    key, gone = image_key(new.id, digest), "checkpoints/unknown/state"
    blobs.put_bytes(key, data)
    blobs.put_bytes(gone, b"state")
    almost = datetime.now(UTC) + timedelta(seconds=IMAGES_GRACE_S - 60)
    sweep(ledger, blobs, lease, impatient, now=almost)
    assert (blobs.exists(key), blobs.exists(gone)) == (True, False)
    left = image_key(new_task_id(), digest)
    blobs.put_bytes(left, data)
    ledger.add_batch(None, [ItemDraft(digest, "cat", len(data), digest)], commit=True, new_task=new)
    sweep(ledger, blobs, lease, impatient, now=TOMORROW)
    assert (blobs.get(key), blobs.exists(left)) == (data, False)


def test_a_part_whose_grace_was_renewed_while_it_was_listed_stays(
    ledger: Ledger, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publish renews the grace of a part after the sweep has found it old, and before it comes to delete it."""
    key = part_key(hashlib.sha256(b"shared").hexdigest())
    blobs.put_bytes(key, b"shared")
    (listed,) = blobs.list("parts/")
    lease = learner(ledger)
    soon = listed.modified_at + timedelta(seconds=POLICY.grace_s + 2)
    real = ledger.references

    def renewed() -> object:
        found = real()
        monkeypatch.setattr(type(blobs), "info", lambda self, key: listed.__class__(key, 6, soon))
        return found

    monkeypatch.setattr(ledger, "references", renewed)
    assert sweep(ledger, blobs, lease, POLICY, now=soon).blobs == 0
    assert blobs.exists(key)


def test_an_unfinished_task_loses_nothing(ledger: Ledger, blobs: Blobs) -> None:
    lease = learner(ledger)
    task = claim(ledger, blobs, lease, "cat", "dog")
    publish(ledger, blobs, lease, task, "provisional")
    for place in ("tasks", "checkpoints"):
        blobs.put_bytes(f"{place}/{task.id}/old", b"state")
        blobs.put_bytes(f"{place}/{task.id}/new", b"state")
        ledger.save_checkpoint(lease, task.id, f"{place}/{task.id}/new", {})
        before = everything(blobs)
        sweep(ledger, blobs, lease, POLICY, now=TOMORROW)
        assert before - everything(blobs) == {f"{place}/{task.id}/old"}
        blobs.delete(f"{place}/{task.id}/new")
    ledger.fail(lease, task.id, "no memory")
    assert sweep(ledger, blobs, lease, POLICY, now=TOMORROW).blobs == 0
    assert len(ledger.image_keys(task.id)) == 2
    ledger.retry(task.id)
    assert ledger.claim(lease) is not None


def test_a_checkpoint_goes_with_the_end_of_its_task(ledger: Ledger, blobs: Blobs) -> None:
    lease = learner(ledger)
    task = claim(ledger, blobs, lease, "cat")
    blobs.put_bytes(f"tasks/{task.id}/state", b"state")
    ledger.save_checkpoint(lease, task.id, f"tasks/{task.id}/state", {})
    ledger.cancel(task.id, by="ann")
    sweep(ledger, blobs, lease, POLICY, now=TOMORROW)
    assert not blobs.exists(f"tasks/{task.id}/state")
    assert len(ledger.image_keys(task.id)) == 1


def test_images_of_a_cancelled_task_go_after_their_days(ledger: Ledger, blobs: Blobs, clock: Clock) -> None:
    task = upload(ledger, blobs, "cat", "dog")
    ledger.cancel(task.id, by="ann")
    assert sweep(ledger, blobs, learner(ledger), POLICY, now=TOMORROW).images == 0
    clock.forward(days=31)
    assert sweep(ledger, blobs, learner(ledger), POLICY, now=TOMORROW).images == 2
    assert everything(blobs) == set()


def test_images_that_a_crash_left_behind_are_swept(ledger: Ledger, blobs: Blobs) -> None:
    task = upload(ledger, blobs, "cat", "dog")
    ledger.cancel(task.id, by="ann")
    ledger.purge_images(task.id)
    assert len(everything(blobs)) == 2
    sweep(ledger, blobs, learner(ledger), POLICY, now=TOMORROW)
    assert everything(blobs) == set()


def test_a_sweep_that_was_told_to_stop_is_finished_by_the_next_whatever_the_age(
    ledger: Ledger, blobs: Blobs, clock: Clock
) -> None:
    task = upload(ledger, blobs, "cat", "dog")
    young = upload(ledger, blobs, "cow")
    ledger.cancel(task.id, by="ann")
    clock.forward(days=31)
    ledger.cancel(young.id, by="ann")

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        sweep(ledger, blobs, learner(ledger), POLICY, check=stop)
    assert len(everything(blobs)) == 3
    sweep(ledger, blobs, learner(ledger), POLICY)
    assert everything(blobs) == set(ledger.image_keys(young.id)) != set()


def test_an_exported_graph_stays(ledger: Ledger, blobs: Blobs) -> None:
    lease = learner(ledger)
    digest = hashlib.sha256(b"graph").hexdigest()
    blobs.put_bytes(part_key(digest), b"graph")
    ledger.record_graph(lease, "key", digest)
    assert sweep(ledger, blobs, lease, POLICY, now=TOMORROW).blobs == 0


def test_only_the_learner_sweeps(ledger: Ledger, blobs: Blobs, clock: Clock) -> None:
    lease = learner(ledger)
    learn(ledger, blobs, lease, "cat", "dog")
    clock.forward(minutes=5)
    learner(ledger, "learner-2")
    before = everything(blobs)
    with pytest.raises(LeaseLost):
        sweep(ledger, blobs, lease, POLICY, now=TOMORROW)
    assert everything(blobs) == before


def test_what_a_failed_task_built_on_stays_while_it_may_be_tried_again(
    ledger: Ledger, blobs: Blobs, clock: Clock
) -> None:
    lease = learner(ledger)
    held = claim(ledger, blobs, lease, "cat")
    publish(ledger, blobs, lease, held, "provisional")
    ledger.finish(lease, held.id)
    later = claim(ledger, blobs, lease, "dog")
    ledger.fail(lease, later.id, "it went wrong")
    publish_final(ledger, blobs, lease, "cow")
    policy = Policy(keep=1, task_days=30, grace_s=3600)
    assert 1 not in sweep(ledger, blobs, lease, policy, now=TOMORROW).versions
    assert ledger.retry(later.id).state == "queued"
    ledger.cancel(later.id, by="ann")
    clock.forward(days=40)
    assert sweep(ledger, blobs, lease, policy, now=TOMORROW).images >= 1
    assert 1 in sweep(ledger, blobs, lease, policy, now=TOMORROW).versions


def publish_final(ledger: Ledger, blobs: Blobs, lease: Lease, label: str) -> None:
    """Two tasks learned one after the other, so that nothing older is the parent of what is in force."""
    for number in range(2):
        learn(ledger, blobs, lease, f"{label} {number}")


def imported(blobs: Blobs) -> tuple[Manifest, VersionDraft, dict[str, bytes]]:
    """A version from elsewhere, and its parts."""
    parts = {"backbone": b"backbone of a stranger", "head": b"head of a stranger"}
    manifest = Manifest(
        kind="final",
        task=None,
        lineage=(),
        classes=(VersionClass("cat", None, 1),),
        description={},
        parts={role: Part.of(data) for role, data in parts.items()},
    )
    digests = tuple(part.sha256 for part in manifest.parts.values())
    return manifest, VersionDraft("final", manifest.digest, manifest.size_bytes, digests, manifest.classes), parts


def stored(blobs: Blobs, manifest: Manifest) -> list[bool]:
    """Whether manifest and parts are there."""
    keys = [manifest_key(manifest.digest), *(part.key for part in manifest.parts.values())]
    return [blobs.exists(key) for key in keys]


def test_parts_and_manifests_stay_while_somebody_else_has_the_store_to_himself(ledger: Ledger, blobs: Blobs) -> None:
    """As an import does, whose version has a part that was left behind long ago."""
    lease = learner(ledger)
    manifest, draft, parts = imported(blobs)
    store_version(blobs, manifest, parts)
    with alone_with_store(ledger, "import-1", lease.host) as alone:
        assert alone is not None
        assert sweep(ledger, blobs, lease, POLICY, now=TOMORROW).blobs == 0
        ledger.add_root(draft, alone)
    assert sweep(ledger, blobs, lease, POLICY, now=TOMORROW).blobs == 0
    assert all(stored(blobs, manifest))
    assert ledger.version(1).state == "held"


def test_nobody_has_the_store_to_himself_while_a_sweep_deletes(
    ledger: Ledger, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = learner(ledger)
    manifest, _, parts = imported(blobs)
    store_version(blobs, manifest, parts)
    real, got = blobs.info, []

    def info(key: str) -> object:
        with alone_with_store(ledger, "import-1", lease.host) as alone:
            got.append(alone)
        return real(key)

    monkeypatch.setattr(blobs, "info", info)
    assert sweep(ledger, blobs, lease, POLICY, now=TOMORROW).blobs == 3
    assert got == [None] * 3
    with alone_with_store(ledger, "import-1", lease.host) as alone:
        assert alone is not None


def test_who_lost_the_store_names_nothing_that_he_stored(ledger: Ledger, blobs: Blobs, clock: Clock) -> None:
    lease = learner(ledger)
    manifest, draft, parts = imported(blobs)
    with alone_with_store(ledger, "import-1", lease.host) as alone:
        assert alone is not None
        store_version(blobs, manifest, parts)
        clock.forward(seconds=TTL_S + 1)
        lease = learner(ledger, "learner-2")
        assert sweep(ledger, blobs, lease, POLICY, now=TOMORROW).blobs == 3
        with pytest.raises(LeaseLost):
            ledger.add_root(draft, alone)
    assert not ledger.versions().items


def test_the_store_is_kept_while_it_is_needed_and_free_afterwards(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.alone.RENEW_EVERY_S", 0.01)
    with alone_with_store(ledger, "import-1", "here") as alone:
        assert alone is not None
        before = ledger.leases("store")[0].renewed_at
        ledger.renew_lease(alone, {"at": "work"})
        while ledger.leases("store")[0].info:
            time.sleep(0.01)
        assert ledger.leases("store")[0].renewed_at >= before
    assert not ledger.leases("store")[0].alive


def test_a_sweep_that_is_told_to_stop_stops_between_two_blobs(ledger: Ledger, blobs: Blobs) -> None:
    lease = learner(ledger)
    manifest, _, parts = imported(blobs)
    store_version(blobs, manifest, parts)
    looked: list[int] = []

    def check() -> None:
        looked.append(len(looked))
        if len(looked) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        sweep(ledger, blobs, lease, POLICY, now=TOMORROW, check=check)
    assert stored(blobs, manifest).count(False) == 1
    with alone_with_store(ledger, "import-1", lease.host) as alone:
        assert alone is not None


def test_who_lost_the_learners_lease_deletes_nothing_that_another_learner_stores(
    ledger: Ledger, blobs: Blobs, clock: Clock
) -> None:
    lease = learner(ledger)
    manifest, _, parts = imported(blobs)
    store_version(blobs, manifest, parts)
    clock.forward(minutes=5)
    learner(ledger, "learner-2")
    with alone_with_store(ledger, lease.owner, lease.host) as alone, pytest.raises(LeaseLost):
        assert alone is not None
        clear_unnamed(ledger, blobs, lease, alone)
    assert all(stored(blobs, manifest))


def test_an_image_of_an_open_task_waits_until_none_can_come(ledger: Ledger, blobs: Blobs) -> None:
    """The same picture may be on its way once more, and is stored before it is named."""
    new = NewTask(new_task_id(), "ann")
    ledger.add_batch(None, [ItemDraft("0" * 64, "cat", 1, "0")], commit=False, new_task=new)
    blobs.put_bytes(image_key(new.id, "0" * 64), b"named")
    left = image_key(new.id, "1" * 64)
    blobs.put_bytes(left, b"of a batch that was not taken")
    sweep(ledger, blobs, learner(ledger), POLICY, now=TOMORROW)
    assert blobs.exists(left)
    ledger.commit_task(new.id)
    sweep(ledger, blobs, learner(ledger), POLICY, now=TOMORROW)
    assert everything(blobs) == {image_key(new.id, "0" * 64)}
