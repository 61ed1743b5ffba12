"""From a manifest's digest to a version that predicts: every part checked, the runtime chosen, warm."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from model.runtime import RuntimeKind, RuntimeUnavailable, available_runtimes, best_device, machine_type
from model.served import SERVED_PARTS, ServedModel, open_served
from service.setting_groups import ServeSettings
from stream.blobs import Blobs
from stream.ledger import Ledger
from stream.manifest import Manifest, load_manifest, load_parts

log = logging.getLogger(__name__)

FALLBACK: RuntimeKind = "onnxruntime"


MOST_FAILURES = 3
"""So many batches in a row do not fail by chance: the runtime is taken for broken."""


class NotServable(Exception):
    """The parts are whole, but no model that predicts can be made of them here."""


@dataclass
class Failures:
    """Batches of a loaded version that failed in a row; written by the batcher's thread alone."""

    in_a_row: int = 0

    @property
    def too_many(self) -> bool:
        """Whether the version has to be loaded anew before it answers again."""
        return self.in_a_row >= MOST_FAILURES


@dataclass(frozen=True, eq=False)
class LoadedVersion:
    """A version in memory. `digest` is its manifest's, `runtime` the kind that runs it, `failures` how that goes."""

    digest: str
    manifest: Manifest
    model: ServedModel
    runtime: RuntimeKind
    failures: Failures = field(default_factory=Failures)

    @property
    def kind(self) -> str:
        """`provisional` or `final`."""
        return self.manifest.kind


class Loader:
    """Loads versions with the runtime that this machine is to use."""

    def __init__(self, ledger: Ledger, blobs: Blobs, settings: ServeSettings) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._settings = settings

    def load(self, digest: str) -> LoadedVersion:
        """The version, checked and warm.

        Raises:
            NotFound, DamagedBlob: the manifest or a part is not there, or not what was written.
            Unavailable: the blob store does not answer.
            NotServable: the runtime cannot open it.
        """
        manifest = load_manifest(self._blobs, digest)
        parts = load_parts(self._blobs, manifest, SERVED_PARTS)
        kind = self.runtime_for(manifest)
        try:
            model = self._opened(parts, manifest.description, kind)
            model.warm()
        except Exception as error:
            raise NotServable(f"{type(error).__name__}: {error}") from error
        return LoadedVersion(digest, manifest, model, kind)

    def outdated(self, version: LoadedVersion) -> bool:
        """Whether another runtime was chosen since the version was loaded."""
        return self.runtime_for(version.manifest) != version.runtime

    def _opened(self, parts: Mapping[str, bytes], description: Mapping[str, Any], kind: RuntimeKind) -> ServedModel:
        """On the GPU where ONNX Runtime can use one; on the CPU where it cannot after all."""
        open_on = partial(open_served, parts, description, kind=kind, threads=self._settings.threads)
        if kind == "onnxruntime" and best_device() == "cuda":
            try:
                return open_on(device="cuda")
            except RuntimeUnavailable as error:
                log.warning("serving from the CPU: %s", error)
        return open_on()

    def runtime_for(self, manifest: Manifest) -> RuntimeKind:
        """The kind that the settings name; with `auto` the one chosen for this machine type, once there is a choice, or
        what serves this version instead.
        """
        if self._settings.runtime != "auto":
            return self._settings.runtime
        decided = self._ledger.runtime_choice(manifest.description["graph_key"], machine_type())
        kind = FALLBACK if decided is None else decided.get("exceptions", {}).get(manifest.digest, decided["kind"])
        return kind if kind in available_runtimes() else FALLBACK
