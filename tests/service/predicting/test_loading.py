"""Which runtime a version is opened with, and on what."""

from pathlib import Path

import pytest

from model.runtime import machine_type
from service.predicting.loading import Loader
from service.setting_groups import ServeSettings
from stream.blobs import open_blobs
from stream.ledger import Ledger
from stream.manifest import load_manifest
from tests.taught import Taught


class Shelves:
    """Ledger and blobs of a taught folder."""

    def __init__(self, taught: Taught, folder: Path) -> None:
        self.ledger = Ledger.open(f"sqlite:///{folder}/everclass.db")
        self.blobs = open_blobs(folder / "blobs", folder)
        self.digest = taught.versions[6].digest

    def loader(self, **settings: object) -> Loader:
        return Loader(self.ledger, self.blobs, ServeSettings(threads=1, **settings))


@pytest.fixture
def shelves(taught: Taught, folder: Path) -> Shelves:
    return Shelves(taught, folder)


def test_the_runtime_of_the_settings_is_taken(shelves: Shelves) -> None:
    version = shelves.loader(runtime="openvino-fp32").load(shelves.digest)
    assert (version.runtime, version.model.runtime.name) == ("openvino-fp32", "openvino cpu fp32")
    version.model.close()


def test_what_was_decided_for_this_machine_is_taken_and_else_onnx_runtime(shelves: Shelves) -> None:
    manifest = load_manifest(shelves.blobs, shelves.digest)
    loader = shelves.loader()
    assert loader.runtime_for(manifest) == "onnxruntime"
    lease = shelves.ledger.acquire_lease("learner", "a learner", "here", 30)
    key = manifest.description["graph_key"]
    for chosen, taken in (("openvino-fp32", "openvino-fp32"), ("a-runtime-of-tomorrow", "onnxruntime")):
        shelves.ledger.record_runtime_choice(lease, key, machine_type(), {"kind": chosen})
        assert loader.runtime_for(manifest) == taken


def test_a_gpu_that_cannot_be_used_after_all_leaves_the_cpu(
    shelves: Shelves, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("service.predicting.loading.best_device", lambda: "cuda")
    version = shelves.loader(runtime="onnxruntime").load(shelves.digest)
    assert version.model.runtime.name.startswith("onnxruntime cpu")
    assert "serving from the CPU" in caplog.text
    version.model.close()
