"""A server learns with no method that it does not know or cannot serve."""

import subprocess
import sys

import pytest

from model.backbones.backbone import build
from model.methods import default_method, method_named
from model.tuners import FullTuner, HybridTuner
from service.learner.bases import root_spec
from service.offered import check_offered, check_offered_apart
from service.settings import WrongSettings, load_settings


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
    with pytest.raises(WrongSettings, match=why):
        check_offered_apart(settings)
    check_offered(settings, learns=False)


@pytest.mark.parametrize(("backbone", "size"), [("test_vit", 63), ("vit_tiny_patch16_224", 40)])
def test_an_image_size_that_the_backbone_does_not_take_is_refused_at_the_start(backbone: str, size: int) -> None:
    settings = load_settings({"backbone": backbone, "image_size": size}).settings
    why = f"^image_size: {backbone} takes no images of {size} pixels a side, but of (32|48) or (48|64): "
    with pytest.raises(WrongSettings, match=why):
        check_offered(settings)
    with pytest.raises(WrongSettings, match=why):
        check_offered_apart(settings)
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
def test_the_check_apart_gives_the_same_reasons(method: str, why: str) -> None:
    settings = load_settings({"method": method}).settings
    with pytest.raises(WrongSettings, match=why):
        check_offered(settings)
    with pytest.raises(WrongSettings, match=why):
        check_offered_apart(settings)


@pytest.mark.parametrize("method", ["der++", "bic", "bic+ca"])
def test_a_method_that_keeps_images_is_offered_only_where_that_is_allowed(method: str) -> None:
    named = {"backbone": "test_vit", "image_size": 32, "method": method}
    with pytest.raises(WrongSettings, match="it keeps images of earlier tasks"):
        check_offered(load_settings(named).settings)
    check_offered(load_settings({**named, "learn.allow_images": True}).settings)


def test_what_supervises_does_not_load_what_only_a_learner_needs() -> None:
    program = (
        "import sys; from service.offered import check_offered_apart; from service.settings import load_settings; "
        "import service.supervisor; check_offered_apart(load_settings({}).settings); print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
