"""An exported version becomes a held root of this server: read as data from a stranger, checked, and written anew.

Nothing of the archive is kept as it came. Tensors are read, checked and saved again; the graph is this server's own,
since a graph can point at files; images that judged the version elsewhere are not here, so that it stands unjudged.
"""

import json
import secrets
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from socket import gethostname
from typing import Annotated, Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.backbones.backbone import build, check_fits, extract_features
from model.backbones.export import export_graph, graph_key
from model.backbones.spec import BackboneSpec
from model.judging.agreement import REFERENCE, Choice
from model.methods import UnknownMethod, method_named
from model.runtime import RuntimeKind, RuntimeUnavailable, machine_type
from model.served import open_served
from model.snapshot import Snapshot, SnapshotClass, SnapshotError
from service.archives.exporting import file_name
from service.settings import Settings
from stream.alone import alone_with_store
from stream.blobs import Blobs
from stream.errors import InvalidContent, NotFound, Unavailable
from stream.labels import new_label
from stream.ledger import Lease, Ledger
from stream.manifest import Manifest, Part, part_key, store_version
from stream.sources.archive import BROKEN, is_damage
from stream.versions import Version, VersionClass, VersionDraft

MANIFEST = "manifest.json"
MANIFEST_BYTES = 16 << 20
NEEDED = ("backbone", "head", "learner", "statistics")
OURS = ("graph", "judged")
"""Parts that are not taken over."""
WIDEST_GAP = 1e-3
"""How far apart features by the learner's network and by the graph may lie, relative to their size."""
LARGEST_IMAGE = 2048
"""Pixels; a network is made for the size before its weights can be compared."""
REASON = "imported: to be promoted by a person"
ALONE_WITHIN_S, ALONE_WAIT_S = 60.0, 0.5


class WrongArchive(Exception):
    """The archive is no export that can be learned on from; the text says what is wrong. Nothing was stored."""


def import_version(ledger: Ledger, blobs: Blobs, settings: Settings, path: Path, *, note: str | None = None) -> Version:
    """A held root made of the safetensors export at `path`; a learner and services may run meanwhile.

    Raises:
        WrongArchive: whatever is wrong with it.
        StorageFull, Unavailable, LeaseLost: there is no new version.
    """
    snapshot = _checked(_snapshot(path, settings.limits.expanded_mb << 20), settings)
    key, graph = _graph(ledger, blobs, snapshot.spec)
    parts = snapshot.to_parts() | {"graph": graph}
    manifest = Manifest(
        kind="final",
        task=None,
        lineage=(),
        classes=tuple(VersionClass(one.label, None, one.images) for one in snapshot.classes),
        description=snapshot.describe() | {"graph_key": key},
        parts={role: Part.of(data) for role, data in parts.items()},
    )
    runtime = _runtime(ledger, settings, key)
    _prove(snapshot, parts, manifest, runtime, settings.serve.threads)
    draft = VersionDraft(
        kind="final",
        digest=manifest.digest,
        size_bytes=manifest.size_bytes,
        parts=tuple(part.sha256 for part in manifest.parts.values()),
        classes=manifest.classes,
        runtime=runtime,
        reason=REASON,
        note=note,
    )
    with _alone(ledger) as alone:
        store_version(blobs, manifest, parts)
        return ledger.add_root(draft, alone)


@contextmanager
def _alone(ledger: Ledger) -> Iterator[Lease]:
    """While nobody sweeps: an old blob of the same name may be on its way out. Raises Unavailable."""
    owner, end = f"import-{secrets.token_hex(8)}", time.monotonic() + ALONE_WITHIN_S
    while True:
        with alone_with_store(ledger, owner, gethostname()) as alone:
            if alone is not None:
                yield alone
                return
        if time.monotonic() > end:
            raise Unavailable("a sweep or another import is under way; try again in some minutes")
        time.sleep(ALONE_WAIT_S)


def _snapshot(path: Path, most_bytes: int) -> Snapshot:
    try:
        with zipfile.ZipFile(path) as archive:
            files = _files(archive)
            manifest = _manifest(archive, files)
            if manifest.size_bytes > most_bytes:
                raise WrongArchive(f"it holds {manifest.size_bytes} bytes; limits.expanded_mb allows {most_bytes}")
            roles = [role for role in manifest.parts if role not in OURS]
            parts = {role: _part(archive, files, role, manifest.parts[role]) for role in roles}
    except (*BROKEN, RuntimeError) as error:
        raise WrongArchive(f"it is no zip archive that can be read: {error}") from error
    except OSError as error:
        if not is_damage(error):
            raise
        raise WrongArchive(f"it is no zip archive that can be read: {error}") from error
    _check_description(manifest.description)
    try:
        return Snapshot.from_parts(parts, manifest.description)
    except SnapshotError as error:
        raise WrongArchive(str(error)) from error


def _files(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """By name inside the archive's one folder."""
    files: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.rpartition("/")[2]
        if name in files:
            raise WrongArchive(f"it holds {name} twice")
        files[name] = info
    if MANIFEST not in files:
        raise WrongArchive(f"it holds no {MANIFEST}: export the version with --format safetensors, not onnx")
    return files


def _manifest(archive: zipfile.ZipFile, files: Mapping[str, zipfile.ZipInfo]) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(_read(archive, files[MANIFEST], MANIFEST_BYTES))
    except ValidationError as error:
        raise WrongArchive(f"{MANIFEST} is not what Everclass writes: {error.errors()[0]['msg']}") from error
    missing = [role for role in NEEDED if role not in manifest.parts]
    if missing:
        raise WrongArchive(f"{MANIFEST} names no {missing[0]}")
    return manifest


def _part(archive: zipfile.ZipFile, files: Mapping[str, zipfile.ZipInfo], role: str, part: Part) -> bytes:
    info = files.get(file_name(role))
    if info is None:
        raise WrongArchive(f"it holds no {file_name(role)}")
    data = _read(archive, info, part.size_bytes)
    if Part.of(data) != part:
        raise WrongArchive(f"{info.filename} is not what {MANIFEST} says: its SHA-256 or its size differ")
    return data


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most_bytes: int) -> bytes:
    """The entry, of which no more is unpacked than `most_bytes`, whatever it says of itself."""
    with archive.open(info) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise WrongArchive(f"{info.filename} is larger than {most_bytes} bytes")
    return data


class _Description(BaseModel):
    """What a manifest's description has to say for a snapshot to be made of it."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    spec: BackboneSpec
    method: str
    classes: list[SnapshotClass]
    temperature: Annotated[float, Field(gt=0)]
    known_threshold: float | None
    tuned_tasks: Annotated[int, Field(ge=0)] = 0


def _check_description(description: dict[str, Any]) -> None:
    try:
        _Description.model_validate_json(json.dumps(description))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise WrongArchive(f"{MANIFEST}: description.{field}: {first['msg']}") from error


def _checked(snapshot: Snapshot, settings: Settings) -> Snapshot:
    """The snapshot with classes that no task of this server brought."""
    if not snapshot.classes:
        raise WrongArchive("it knows no class")
    labels = [_label(one.label) for one in snapshot.classes]
    if len(set(labels)) < len(labels):
        raise WrongArchive("two of its classes have the same label")
    _check_method(snapshot, settings)
    _check_finite(snapshot)
    _check_fits(snapshot)
    return replace(snapshot, classes=tuple(replace(one, since=None) for one in snapshot.classes))


def _label(label: str) -> str:
    try:
        clean = new_label(label)
    except InvalidContent as error:
        raise WrongArchive(f"a label cannot be taken: {error}") from error
    if clean != label:
        raise WrongArchive(f"the label {label!r} is not in the form that Everclass keeps")
    return clean


def _check_method(snapshot: Snapshot, settings: Settings) -> None:
    try:
        refusals = method_named(snapshot.method).refusals(allow_images=settings.learn.allow_images)
    except UnknownMethod as error:
        raise WrongArchive(str(error)) from error
    if refusals:
        raise WrongArchive(f"a server cannot offer its method {snapshot.method}: {'; '.join(refusals)}")


def _check_finite(snapshot: Snapshot) -> None:
    heads, statistics = (snapshot.unaligned, snapshot.aligned), snapshot.statistics
    arrays: list[NDArray[Any]] = [array for head in heads for array in head.to_arrays().values()]
    arrays += [statistics.mean_CD, *statistics.factors, statistics.drift_error_C]
    if snapshot.novelty is not None:
        arrays += list(snapshot.novelty.to_arrays().values())
    tensors = [*snapshot.backbone.values(), *snapshot.kept.values()]
    if (statistics.count_C < 0).any():
        raise WrongArchive("it counts fewer than no images")
    if not all(np.isfinite(array).all() for array in arrays) or not all(_finite(tensor) for tensor in tensors):
        raise WrongArchive("it holds numbers that are not finite")


def _finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _check_fits(snapshot: Snapshot) -> None:
    """Whether the weights are those of the backbone that is named; heads, statistics and the rule for unknown images of
    its features.
    """
    spec = snapshot.spec
    if not timm.is_model(spec.name) or not 16 <= spec.image_size <= LARGEST_IMAGE:
        raise WrongArchive(f"{spec.name!r} at {spec.image_size} pixels is no backbone that there is")
    try:
        # A name alone can stand for seven thousand million weights.
        check_fits(spec, snapshot.backbone)
        network = build(spec)
        network.load(snapshot.backbone)
    except Exception as error:
        raise WrongArchive(f"its weights are not those of {snapshot.spec.name}: {error}") from error
    sizes = {snapshot.unaligned.feature_dim, snapshot.aligned.feature_dim, snapshot.statistics.dimension}
    if sizes != {network.feature_dim}:
        raise WrongArchive(f"its head or statistics are not of {spec.name}'s {network.feature_dim} features")
    rule = snapshot.novelty
    # Rules of all features are what was made before any was of a part.
    if rule is not None and rule.dimension not in (spec.novelty_dim(network.feature_dim), network.feature_dim):
        what = f"{rule.dimension} of {spec.name}'s {network.feature_dim} features"
        raise WrongArchive(f"its rule for unknown images is of {what}")


def _graph(ledger: Ledger, blobs: Blobs, spec: BackboneSpec) -> tuple[str, bytes]:
    """This server's own graph of the architecture."""
    key = graph_key(spec)
    digest = ledger.graph(key)
    if digest is not None:
        try:
            return key, blobs.get(part_key(digest))
        except NotFound:
            pass
    with tempfile.TemporaryDirectory(prefix="everclass-import-") as folder:
        return key, export_graph(spec, Path(folder)).read_bytes()


def _runtime(ledger: Ledger, settings: Settings, key: str) -> RuntimeKind:
    if settings.serve.runtime != "auto":
        return settings.serve.runtime
    decided = ledger.runtime_choice(key, machine_type())
    return REFERENCE if decided is None else Choice.from_json(decided).kind


def _prove(
    snapshot: Snapshot, parts: Mapping[str, bytes], manifest: Manifest, runtime: RuntimeKind, threads: int
) -> None:
    """Whether it opens with the runtime and sees what the network sees."""
    size = snapshot.spec.image_size
    view_HWC = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    try:
        served = open_served(parts, json.loads(json.dumps(manifest.description)), kind=runtime, threads=threads)
        try:
            served.warm()
            served.predict(view_HWC[None], top_k=1)
            found_D = served.runtime.features(view_HWC[None])[0]
        finally:
            served.close()
    except RuntimeUnavailable as error:
        raise Unavailable(f"it cannot be tried here: {error}") from error
    except Exception as error:
        raise WrongArchive(f"it does not load: {error}") from error
    network = build(snapshot.spec)
    network.load(snapshot.backbone)
    right_D = extract_features(network.eval(), iter([view_HWC]), batch_size=1)[0]
    # bf16 keeps eight bits of each number.
    widest = WIDEST_GAP if "bf16" not in runtime else 0.1
    if not np.abs(found_D - right_D).max() <= widest * max(1.0, float(np.abs(right_D).max())):
        raise WrongArchive("its graph does not see what its network sees")
