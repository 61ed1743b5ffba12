"""Where a network computes and how exactly, where its user leaves that to the machine."""

from functools import cache
from typing import Final, Literal

import timm
import torch
from timm.models.efficientnet import EfficientNet
from timm.models.ghostnet import GhostNet
from timm.models.mobilenetv3 import MobileNetV3
from torch import nn

from model.backbones.backbone import Precision, known_settings

INVERTED: Final = (EfficientNet, MobileNetV3, GhostNet)
"""Networks of narrow blocks that widen inside, most of whose time on a CPU goes to depthwise convolutions there."""

MOSTLY: Final = 0.8
"""Of such a network's convolutions that see neighbours, how many are depthwise where bf16 is slower; EfficientNetV2,
whose first stages have dense ones, gains by it.
"""


def device_of(asked: str) -> str:
    """The torch device that is asked for; for `auto` the first GPU where torch finds one, else the CPU."""
    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def precision_of(asked: Literal["auto", "fp32", "bf16"], device: str, backbone: str) -> Precision:
    """The precision that is asked for; for `auto` bf16 where that device computes in it and does not imitate it.

    On a CPU that holds for networks that gain by it (decision 0028). Raises `WeightsError` for a `backbone` that timm
    does not know.
    """
    if asked != "auto":
        return asked
    if not _computes_in_bf16(torch.device(device)):
        return "fp32"
    return "fp32" if torch.device(device).type == "cpu" and _loses_by_bf16(backbone) else "bf16"


def _computes_in_bf16(device: torch.device) -> bool:
    if device.type != "cuda":
        return bool(torch.cpu._is_avx512_bf16_supported())
    if not torch.cuda.is_available():
        return False
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


@cache
def _loses_by_bf16(backbone: str) -> bool:
    """Whether it is one of those in which nearly all convolutions that see neighbours are depthwise."""
    known_settings(backbone)
    with torch.device("meta"):
        network = timm.create_model(backbone, pretrained=False)
    spatial = [one for one in network.modules() if isinstance(one, nn.Conv2d) and max(one.kernel_size) > 1]
    depthwise = [one for one in spatial if one.groups == one.in_channels > 1]
    return isinstance(network, INVERTED) and len(depthwise) >= MOSTLY * len(spatial)
