"""A server learns with no method that it does not know or cannot serve."""

import subprocess
import sys

import pytest

from service.offered import check_method, check_method_apart
from service.settings import WrongSettings, load_settings


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_vit"])
def test_the_default_method_is_one_that_a_server_can_offer(backbone: str) -> None:
    check_method(load_settings({"backbone": backbone, "image_size": 32}).settings)


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("slcaa", "there is no method"),
        ("l2p", "does not fold"),
        ("slca++", "method: LoRA needs linear layers named qkv, fc1, fc2, which tf_efficientnet_lite0 does not have"),
    ],
)
def test_the_check_apart_gives_the_same_reasons(method: str, why: str) -> None:
    settings = load_settings({"method": method}).settings
    with pytest.raises(WrongSettings, match=why):
        check_method(settings)
    with pytest.raises(WrongSettings, match=why):
        check_method_apart(settings)


def test_what_supervises_does_not_load_what_only_a_learner_needs() -> None:
    program = (
        "import sys; from service.offered import check_method_apart; from service.settings import load_settings; "
        "import service.supervisor; check_method_apart(load_settings({}).settings); print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
