"""An exported version runs without Everclass, and answers as it does."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image
from safetensors.numpy import load
from starlette.testclient import TestClient

from model.heads.closed_form import linear_discriminant
from model.heads.head import Head
from model.heads.spread_plan import SpreadPlan
from model.runtime.graph import GRAPH_OUTPUT
from model.statistics.class_statistics import ClassStatistics
from model.statistics.shrinkage import shared_covariance
from service.archives.exporting import with_head
from service.archives.zipping import Entry, stream_zip
from tests import digits
from tests.service.pictures import NOISE, encoded, files


def unpacked(client: TestClient, place: Path, form: str, version: int = 6) -> Path:
    reply = client.get(f"/versions/{version}/export?format={form}")
    name = f"everclass-version-{version}-{form}"
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/zip"
    assert f'filename="{name}.zip"' in reply.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        assert archive.testzip() is None
        archive.extractall(place)
    return place / name


def test_the_onnx_archive_runs_on_its_own_and_gives_the_same_scores(client: TestClient, tmp_path: Path) -> None:
    folder = unpacked(client, tmp_path, "onnx")
    wide = Image.fromarray(np.asarray(NOISE).repeat(2, axis=1))
    pictures = {"digit.png": digits.pngs(4)[3], "wide.jpg": encoded(wide, "JPEG")}
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    command = [sys.executable, "-I", "-W", "error", "run.py", *pictures]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=120)
    answers = client.post("/predict?top_k=5", files=files(*pictures.values())).json()["predictions"]
    for line, (name, answer) in zip(run.stdout.splitlines(), zip(pictures, answers, strict=True), strict=True):
        shown, *top = line.split("\t")
        assert shown == name
        for word, expected in zip(top, answer["top"], strict=True):
            label, score = word.split(" ")
            assert float(score) == pytest.approx(expected["score"], abs=2e-4)
            assert label == expected["label"] or expected["score"] < 1e-3


def test_the_onnx_head_gives_each_classs_spread_its_say() -> None:
    features_ND = np.random.default_rng(0).standard_normal((90, 5)).astype(np.float32)
    columns_N = np.repeat(np.arange(3), 30)
    known = ClassStatistics.from_features(features_ND * (1 + columns_N[:, None]), columns_N, 3)
    linear = linear_discriminant(known)
    head = Head(linear.weight_CD, linear.bias_C, SpreadPlan().made(known, shared_covariance(known), scale=1.0))
    shape = ["B", 5]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["pixels"], [GRAPH_OUTPUT])],
        "features",
        [onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info(GRAPH_OUTPUT, onnx.TensorProto.FLOAT, shape)],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    exported = with_head(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), head)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (found_NC,) = session.run(None, {"pixels": features_ND})
    np.testing.assert_allclose(found_NC, head.logits(features_ND), rtol=1e-4, atol=1e-4)
    assert not np.allclose(found_NC, linear.logits(features_ND), atol=0.1)


def test_the_script_needs_nothing_but_three_packages() -> None:
    script = Path(sys.modules["service"].__path__[0]) / "archives" / "contents" / "run.py"
    lines = script.read_text().splitlines()
    imports = [line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))]
    assert set(imports) == {"json", "sys", "pathlib", "numpy", "onnxruntime", "PIL"}


def test_the_safetensors_archive_holds_every_part_and_the_manifest(client: TestClient, tmp_path: Path) -> None:
    folder = unpacked(client, tmp_path, "safetensors", version=4)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert {path.name for path in folder.iterdir()} >= {
        "manifest.json",
        "README.md",
        "labels.json",
        "graph.onnx",
        "backbone.safetensors",
        "head.safetensors",
        "learner.safetensors",
        "statistics.safetensors",
    }
    assert len(list(folder.iterdir())) == len(manifest["parts"].keys() - {"judged"}) + 3
    for path in folder.glob("*.safetensors"):
        assert load(path.read_bytes()), path.name
    head = load((folder / "head.safetensors").read_bytes())
    labels = json.loads((folder / "labels.json").read_bytes())
    assert len(head["direction_CRD"]) == len(head["weight_CD"]) == len(labels) == 4


def test_the_same_version_gives_the_same_archive(client: TestClient) -> None:
    one = client.get("/versions/6/export").content
    assert client.get("/versions/6/export?format=onnx").content == one


@pytest.mark.parametrize(("path", "status"), [("99/export", 404), ("1/export", 409), ("6/export?format=pickle", 422)])
def test_what_cannot_be_exported_is_refused(client: TestClient, path: str, status: int) -> None:
    assert client.get(f"/versions/{path}").status_code == status


def test_a_large_file_goes_out_in_pieces(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(5 << 20))
    pieces = list(stream_zip("folder", [Entry("a", b"short"), Entry("b", large), Entry("empty", b"")]))
    assert max(map(len, pieces)) < 2 << 20
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.read("folder/a") == b"short"
        assert archive.read("folder/b") == bytes(5 << 20)
        assert archive.read("folder/empty") == b""
