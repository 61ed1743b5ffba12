"""Verification finds what is missing or damaged, whoever names it, and says so of the versions."""

import hashlib
from pathlib import Path

import pytest

from stream.blobs import Blobs, FolderBlobs
from stream.ledger import Ledger
from stream.manifest import manifest_key
from stream.tasks import image_key
from stream.verification import Finding, verify
from stream.versions import VersionState
from tests.stream.stories import in_force, learner
from tests.stream.test_retention import claim, learn, upload


@pytest.fixture
def store(tmp_path: Path) -> FolderBlobs:
    """Blobs whose files a test can spoil."""
    return FolderBlobs(tmp_path / "blobs")


def spoil(store: FolderBlobs, key: str) -> tuple[Path, bytes]:
    """Flip a bit; the file, and its bytes as they were."""
    path = store.path(key)
    before = path.read_bytes()
    path.write_bytes(bytes([before[0] ^ 1]) + before[1:])
    return path, before


def test_what_is_whole_is_sound(ledger: Ledger, blobs: Blobs) -> None:
    lease = learner(ledger)
    learn(ledger, blobs, lease, "cat", "dog")
    upload(ledger, blobs, "cow")
    told: list[str] = []
    found = verify(ledger, blobs, on_blob=told.append)
    assert found.sound and found.damaged == found.healed == ()
    assert found.blobs == len(told) == len(set(told)) == 2 + 3 + 3
    assert found.size_bytes > 0


def test_a_spoilt_part_marks_every_version_that_has_it(ledger: Ledger, store: FolderBlobs) -> None:
    lease = learner(ledger)
    provisional, final = learn(ledger, store, lease, "cat")
    backbone = final.parts["backbone"].key
    assert provisional.parts["backbone"].key == backbone
    spoil(store, backbone)
    found = verify(ledger, store)
    assert found.findings == tuple(Finding("damaged", backbone, f"version {number}") for number in (1, 2))
    assert found.damaged == (1, 2)
    assert ledger.version(2).state == VersionState.DAMAGED and backbone in str(ledger.version(2).reason)
    assert in_force(ledger) == 2
    again = verify(ledger, store)
    assert again.findings == found.findings and again.damaged == ()


def test_a_version_whose_bytes_are_right_again_is_whole(ledger: Ledger, store: FolderBlobs) -> None:
    lease = learner(ledger)
    provisional, _ = learn(ledger, store, lease, "cat")
    key = provisional.parts["head"].key
    path, before = spoil(store, key)
    assert verify(ledger, store).damaged == (1,)
    path.write_bytes(before)
    found = verify(ledger, store)
    assert found.sound and found.healed == (1,)
    assert ledger.version(1).state == VersionState.HELD
    assert verify(ledger, store).healed == ()


def test_looking_alone_marks_nothing(ledger: Ledger, store: FolderBlobs) -> None:
    lease = learner(ledger)
    _, final = learn(ledger, store, lease, "cat")
    spoil(store, final.parts["head"].key)
    assert verify(ledger, store, mark=False).findings and ledger.version(2).state == VersionState.READY


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_a_manifest_at_fault_is_found(ledger: Ledger, store: FolderBlobs, fault: str) -> None:
    lease = learner(ledger)
    _, final = learn(ledger, store, lease, "cat")
    key = manifest_key(final.digest)
    if fault == "missing":
        store.delete(key)
    else:
        spoil(store, key)
    assert verify(ledger, store).findings == (Finding(fault, key, "version 2"),)


def test_images_and_checkpoints_that_are_needed_are_looked_at(ledger: Ledger, store: FolderBlobs) -> None:
    lease = learner(ledger)
    task = claim(ledger, store, lease, "cat", "dog")
    state = b"state"
    checkpoint = f"checkpoints/{task.id}/{hashlib.sha256(state).hexdigest()}"
    store.put_bytes(checkpoint, state)
    ledger.save_checkpoint(lease, task.id, checkpoint, {})
    image = image_key(task.id, ledger.items(task.id)[1].sha256)
    spoil(store, image)
    store.delete(checkpoint)
    found = {(one.fault, one.key, one.owner) for one in verify(ledger, store).findings}
    assert found == {("damaged", image, f"task {task.id}"), ("missing", checkpoint, f"task {task.id}")}


def test_a_graph_that_is_gone_is_found(ledger: Ledger, blobs: Blobs) -> None:
    lease = learner(ledger)
    digest = hashlib.sha256(b"graph").hexdigest()
    blobs.put_bytes(f"parts/{digest}", b"graph")
    ledger.record_graph(lease, "test_vit", digest)
    assert verify(ledger, blobs).sound
    blobs.delete(f"parts/{digest}")
    assert verify(ledger, blobs).findings == (Finding("missing", f"parts/{digest}", "a graph"),)


def test_what_is_deleted_is_not_looked_for(ledger: Ledger, store: FolderBlobs) -> None:
    lease = learner(ledger)
    learn(ledger, store, lease, "cat")
    learn(ledger, store, lease, "cow")
    provisional = ledger.version(1)
    ledger.delete_version(1)
    store.delete(manifest_key(provisional.digest))
    assert verify(ledger, store).sound
