"""How near keys are to what the plain network sees in an image."""

import torch
from torch import Tensor, nn


def cosines(query_BD: Tensor, keys_KD: Tensor) -> Tensor:
    """`cosine_BK` in float32, also under autocast: in bfloat16 the nearest keys tie, and a wrong one is taken."""
    with torch.autocast(query_BD.device.type, enabled=False):
        unit_BD, unit_KD = (nn.functional.normalize(vectors.float(), dim=1) for vectors in (query_BD, keys_KD))
        return unit_BD @ unit_KD.T
