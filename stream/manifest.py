"""The manifest: the one file that makes a version a version. It names every part with its SHA-256."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream.blobs import Blobs
from stream.errors import DamagedBlob
from stream.versions import VersionClass, VersionKind

Sha256 = Field(pattern=r"^[0-9a-f]{64}$")


class Part(BaseModel):
    """One file of a version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Sha256
    size_bytes: int = Field(ge=0)

    @classmethod
    def of(cls, data: bytes) -> "Part":
        """The part that holds `data`."""
        return cls(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))

    @property
    def key(self) -> str:
        """Where it lies among the blobs."""
        return part_key(self.sha256)


class Manifest(BaseModel):
    """What a version consists of.

    `description` is what the model says of itself (spec, classes, temperature, method …), `classes` what clients are
    told, `parts` the files by role, `lineage` the tasks learned from the root to this version, oldest first.
    Equal manifests have equal bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    kind: VersionKind
    task: str | None
    lineage: tuple[str, ...]
    classes: tuple[VersionClass, ...]
    description: dict[str, Any]
    parts: dict[str, Part]

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no white space, UTF-8."""
        document = self.model_dump(mode="json")
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes: the version's digest and the manifest's name."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def size_bytes(self) -> int:
        """All parts together; a part that another version shares counts too."""
        return sum(part.size_bytes for part in self.parts.values())


def part_key(sha256: str) -> str:
    """The blob key of a part; versions that have a part in common share its blob."""
    return f"parts/{sha256}"


def manifest_key(digest: str) -> str:
    """The blob key of a manifest."""
    return f"manifests/{digest}"


def store_version(blobs: Blobs, manifest: Manifest, parts: dict[str, bytes]) -> None:
    """Make the parts durable, then the manifest, and renew the grace of every part that is there already.

    `parts` holds the bytes by role; a role left out must be stored already. The version exists once the ledger's
    `publish` commits.

    Raises:
        StorageFull: no room; what was written is swept later.
        NotFound: a part that was left out is not stored.
    """
    blobs.put_many([(manifest.parts[role].key, data) for role, data in parts.items()])
    blobs.touch([part.key for role, part in manifest.parts.items() if role not in parts])
    blobs.put_bytes(manifest_key(manifest.digest), manifest.to_bytes())


def load_manifest(blobs: Blobs, digest: str) -> Manifest:
    """The manifest of a version.

    Raises:
        NotFound, DamagedBlob: it is not there, or not what was written.
    """
    key = manifest_key(digest)
    try:
        return Manifest.model_validate_json(blobs.get(key))
    except ValidationError as error:
        raise DamagedBlob(key) from error


def load_parts(blobs: Blobs, manifest: Manifest, roles: Iterable[str]) -> dict[str, bytes]:
    """The bytes of the named parts, each checked against the manifest; roles that the version lacks are left out.

    Raises:
        NotFound, DamagedBlob: a part is not there, or not what was written.
    """
    return {role: blobs.get(manifest.parts[role].key) for role in roles if role in manifest.parts}
