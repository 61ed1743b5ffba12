"""A version is its manifest and what the manifest names."""

import hashlib
import json

import pytest
from pydantic import ValidationError

from stream.blobs import Blobs
from stream.errors import DamagedBlob, NotFound
from stream.manifest import Manifest, Part, load_manifest, load_parts, manifest_key, part_key, store_version
from stream.versions import VersionClass

PARTS = {"backbone": b"weights", "head": b"rows"}


def manifest(**changes: object) -> Manifest:
    values = {
        "kind": "final",
        "task": "t2",
        "lineage": ("t1", "t2"),
        "classes": (VersionClass("caf\u00e9", "t1", 3), VersionClass("dog", "t2", 4)),
        "description": {"spec": {"name": "vit", "mean": [0.5, 0.5, 0.5]}, "temperature": 1.5},
        "parts": {role: Part.of(data) for role, data in PARTS.items()},
    }
    return Manifest.model_validate(values | changes)


def test_equal_manifests_have_equal_bytes() -> None:
    one = manifest(description={"a": 1, "b": {"c": 2, "d": 3}})
    other = manifest(description={"b": {"d": 3, "c": 2}, "a": 1})
    assert one.to_bytes() == other.to_bytes()
    assert one.digest == other.digest == hashlib.sha256(one.to_bytes()).hexdigest()
    assert manifest(task="t3").digest != one.digest


def test_the_bytes_are_plain_json() -> None:
    document = json.loads(manifest().to_bytes())
    assert document["schema_version"] == 1
    assert document["parts"]["head"] == {"sha256": hashlib.sha256(b"rows").hexdigest(), "size_bytes": 4}
    assert document["classes"][0] == {"label": "caf\u00e9", "since": "t1", "images": 3}
    assert "caf\u00e9".encode() in manifest().to_bytes()
    assert manifest().size_bytes == 11


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 2},
        {"kind": "other"},
        {"parts": {"head": {"sha256": "../../etc/passwd", "size_bytes": 1}}},
        {"parts": {"head": {"sha256": "a" * 64, "size_bytes": -1}}},
        {"surprise": 1},
    ],
)
def test_what_is_no_manifest_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        manifest(**changes)


def test_a_stored_version_is_read_back(blobs: Blobs) -> None:
    store_version(blobs, manifest(), PARTS)
    read = load_manifest(blobs, manifest().digest)
    assert read == manifest()
    assert load_parts(blobs, read, ["backbone", "head", "novelty"]) == PARTS
    assert load_parts(blobs, read, ["head"]) == {"head": b"rows"}


def test_a_part_that_is_there_already_need_not_be_sent_again(blobs: Blobs) -> None:
    with pytest.raises(NotFound):
        store_version(blobs, manifest(), {"head": b"rows"})
    assert not blobs.exists(manifest_key(manifest().digest))
    blobs.put_bytes(part_key(hashlib.sha256(b"weights").hexdigest()), b"weights")
    store_version(blobs, manifest(), {"head": b"rows"})
    assert load_parts(blobs, load_manifest(blobs, manifest().digest), PARTS) == PARTS


def test_a_damaged_version_is_not_read(blobs: Blobs) -> None:
    store_version(blobs, manifest(), PARTS)
    blobs.delete(manifest().parts["head"].key)
    with pytest.raises(NotFound):
        load_parts(blobs, manifest(), ["head"])
    blobs.put_bytes(manifest().parts["head"].key, b"other")
    with pytest.raises(DamagedBlob):
        load_parts(blobs, manifest(), ["head"])
    with pytest.raises(NotFound):
        load_manifest(blobs, "a" * 64)


def test_bytes_that_are_intact_but_no_manifest_are_damage(blobs: Blobs) -> None:
    for data in (b"not json", b"{}", b'{"schema_version": 99}'):
        digest = hashlib.sha256(data).hexdigest()
        blobs.put_bytes(manifest_key(digest), data)
        with pytest.raises(DamagedBlob, match="manifests/"):
            load_manifest(blobs, digest)
