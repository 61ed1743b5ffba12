"""Where a network computes and how exactly, where its user leaves that to the machine."""

from typing import Literal

import torch

from model.backbones.backbone import Precision


def device_of(asked: str) -> str:
    """The torch device that is asked for; for `auto` the first GPU where torch finds one, else the CPU."""
    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def precision_of(asked: Literal["auto", "fp32", "bf16"], device: str) -> Precision:
    """The precision that is asked for; for `auto` bf16 where that device computes in it and does not imitate it."""
    if asked != "auto":
        return asked
    return "bf16" if _computes_in_bf16(torch.device(device)) else "fp32"


def _computes_in_bf16(device: torch.device) -> bool:
    if device.type != "cuda":
        return bool(torch.cpu._is_avx512_bf16_supported())
    if not torch.cuda.is_available():
        return False
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
