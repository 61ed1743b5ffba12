"""A server learns with no method that it does not know or cannot serve."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.backbones.backbone import build
from model.methods import default_method, method_named
from model.tuners import FullTuner, HybridTuner
from service.learner.bases import root_spec
from service.offered import check_offered, check_weights
from service.settings import WrongSettings, load_settings
from tests.taught import Taught


@pytest.mark.parametrize(
    ("backbone", "learner"), [("test_efficientnet", FullTuner), ("test_convnext", FullTuner), ("test_vit", HybridTuner)]
)
def test_the_default_goes_by_the_backbone_and_can_be_offered(backbone: str, learner: type) -> None:
    named = {"backbone": backbone, "image_size": 32}
    check_offered(load_settings(named).settings)
    method = default_method(build(root_spec(load_settings(named).settings)))
    assert isinstance(method_named(method).tuner, learner)
    check_offered(load_settings({**named, "method": method}).settings)


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ({"pooling": "token+avg"}, "pooling: tf_efficientnet_lite0 does not give a class token"),
        ({"norm": "fresh"}, "norm: tf_efficientnet_lite0 does not end in a LayerNorm"),
        ({"backbone": "no_such_net", "norm": "fresh"}, "timm knows no backbone"),
    ],
)
def test_features_that_the_backbone_cannot_give_are_refused_at_the_start(named: dict[str, str], why: str) -> None:
    settings = load_settings(named).settings
    with pytest.raises(WrongSettings, match=why):
        check_offered(settings)
    check_offered(settings, learns=False)


@pytest.mark.parametrize(("backbone", "size"), [("test_vit", 63), ("vit_tiny_patch16_224", 40)])
def test_an_image_size_that_the_backbone_does_not_take_is_refused_at_the_start(backbone: str, size: int) -> None:
    settings = load_settings({"backbone": backbone, "image_size": size}).settings
    why = f"^image_size: {backbone} takes no images of {size} pixels a side, but of (32|48) or (48|64): "
    with pytest.raises(WrongSettings, match=why):
        check_offered(settings)
    check_offered(settings, learns=False)
    check_offered(load_settings({"backbone": "no_such_net", "image_size": 63}).settings)


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("slcaa", "there is no method"),
        ("l2p", "does not fold"),
        ("slca++", "method: LoRA needs linear layers named qkv, .*fc2, which tf_efficientnet_lite0 does not have"),
    ],
)
def test_a_method_that_there_is_not_or_that_does_not_fit_is_refused(method: str, why: str) -> None:
    settings = load_settings({"method": method}).settings
    with pytest.raises(WrongSettings, match=why):
        check_offered(settings)


@pytest.mark.parametrize("method", ["der++", "bic", "bic+ca"])
def test_a_method_that_keeps_images_is_offered_only_where_that_is_allowed(method: str) -> None:
    named = {"backbone": "test_vit", "image_size": 32, "method": method}
    with pytest.raises(WrongSettings, match="it keeps images of earlier tasks"):
        check_offered(load_settings(named).settings)
    check_offered(load_settings({**named, "learn.allow_images": True}).settings)


def without(package: str, folder: Path) -> dict[str, str]:
    """The environment of a machine that has no such package, made in the folder."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules[{package!r}] = None\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


@pytest.mark.parametrize(
    ("command", "package", "runtime"),
    [
        ("serve", "onnxruntime", "auto"),
        ("learner", "onnxruntime", "auto"),
        ("import a.zip", "onnxruntime", "auto"),
        ("serve", "openvino", "openvino-bf16"),
    ],
)
def test_nothing_starts_without_the_package_that_runs_versions(
    tmp_path: Path, command: str, package: str, runtime: str
) -> None:
    (tmp_path / "a.zip").touch()
    words = [*command.split(), "--data-dir", str(tmp_path / "data"), "--set", f"serve.runtime={runtime}"]
    done = subprocess.run(
        [sys.executable, "-m", "everclass.main", *words],
        cwd=tmp_path,
        env=without(package, tmp_path / "site"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    kind = package if runtime == "auto" else runtime
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert f"serve.runtime: the package for {kind} is not installed" in done.stderr
    assert "pip install '.[cpu]'" in done.stderr and ("'.[gpu]'" in done.stderr) == (kind == "onnxruntime")
    assert not (tmp_path / "data").exists()


def test_no_bento_starts_without_it_either(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "import service.bento"]
    environment = without("onnxruntime", tmp_path / "site")
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "WrongSettings: serve.runtime: the package for onnxruntime is not installed" in done.stderr.splitlines()[-1]


def test_bf16_is_refused_where_the_cpu_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.runtime.openvino_model.has_bf16", lambda: False)
    with pytest.raises(WrongSettings, match=r"^serve\.runtime: this CPU does not compute in bf16"):
        check_offered(load_settings({"serve.runtime": "openvino-bf16"}).settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused_where_someone_learns() -> None:
    settings = load_settings({"learn.device": "cuda"}).settings
    with pytest.raises(WrongSettings, match=r"^learn\.device: there is no GPU here"):
        check_offered(settings)
    check_offered(settings, learns=False)


def test_weights_that_are_not_there_are_refused_until_there_is_a_version(
    taught: Taught, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = f"weights: there is no file {tmp_path / 'w.safetensors'}"
    given = {"data_dir": tmp_path / "data", "weights": tmp_path / "w.safetensors"}
    with pytest.raises(WrongSettings, match=f"^{missing}$"):
        check_weights(load_settings(given).settings)
    check_weights(load_settings({**given, "data_dir": taught.copied(tmp_path / "taught")}).settings)
    warnings = [one.getMessage() for one in caplog.records if one.name == "service.offered"]
    assert warnings == [f"{missing}; a task without a base would fail"]
    (tmp_path / "w.safetensors").touch()
    check_weights(load_settings(given).settings)
