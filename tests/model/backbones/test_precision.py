"""Device and precision where a user leaves them to the machine."""

import pytest
import torch

from model.backbones.backbone import WeightsError
from model.backbones.precision import device_of, precision_of


@pytest.mark.parametrize("device", ("cpu", "cuda:1"))
def test_what_is_asked_for_is_what_there_is(device: str) -> None:
    assert device_of(device) == device
    assert [precision_of(asked, device, "resnet18") for asked in ("fp32", "bf16")] == ["fp32", "bf16"]


def test_without_a_gpu_the_processor_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == "cpu"
    for able, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda able=able: able)
        assert precision_of("auto", "cpu", "resnet18") == precision


@pytest.mark.parametrize(
    ("backbone", "precision"),
    [
        ("tf_efficientnet_lite0", "fp32"),
        ("mobilenetv4_conv_small", "fp32"),
        ("tf_efficientnetv2_b0", "bf16"),
        ("ghostnet_100", "fp32"),
        ("repvit_m0_9", "bf16"),
        ("convnext_atto", "bf16"),
        ("resnet18", "bf16"),
        ("vit_tiny_patch16_224", "bf16"),
    ],
)
def test_a_processor_takes_bf16_for_networks_that_gain_by_it(
    monkeypatch: pytest.MonkeyPatch, backbone: str, precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert precision_of("auto", "cpu", backbone) == precision
    assert precision_of("bf16", "cpu", backbone) == "bf16"


def test_a_network_that_there_is_not_is_named() -> None:
    with pytest.raises(WeightsError, match="timm knows no backbone 'no_such_net'"):
        precision_of("auto", "cpu", "no_such_net")
