"""Device and precision where a user leaves them to the machine."""

import pytest
import torch

from model.backbones.precision import device_of, precision_of


@pytest.mark.parametrize("device", ("cpu", "cuda:1"))
def test_what_is_asked_for_is_what_there_is(device: str) -> None:
    assert device_of(device) == device
    assert [precision_of(asked, device) for asked in ("fp32", "bf16")] == ["fp32", "bf16"]


def test_without_a_gpu_the_processor_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == "cpu"
    for able, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda able=able: able)
        assert precision_of("auto", "cpu") == precision
