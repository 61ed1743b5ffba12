"""Which sides of an image a network takes, found out without its weights and without memory for them."""

from dataclasses import replace
from functools import cache
from typing import Any, Final

import torch
from timm.layers.patch_embed import PatchEmbed

from model.backbones.backbone import PixelBackbone, WeightsError, known_settings
from model.backbones.spec import BackboneSpec

SMALLEST: Final = 16
"""Pixels a side that may be asked for at all."""

USUAL_STEP: Final = 32
"""By how much most networks without patches shrink an image: their own sizes are multiples of it."""


@cache
def refusal_of_size(spec: BackboneSpec) -> str | None:
    """Why the network cannot take images of the spec's size, and which size would do; None where it can.

    Raises `WeightsError` for what cannot be built at any size.
    """
    usual = replace(spec, image_size=known_settings(spec.name).input_size[-1])
    patch = _patch(_outline(usual).network)
    if patch is not None and spec.image_size % patch:
        reason = f"rows of pixels would lie in none of its patches of {patch}"
    else:
        reason = _failure(spec) or ""
        # Where nothing runs without memory, nothing is known.
        if not reason or _failure(usual):
            return None
    others = " or ".join(map(str, _nearest(spec, patch or USUAL_STEP) or [usual.image_size]))
    return f"{spec.name} takes no images of {spec.image_size} pixels a side, but of {others}: {reason}"


def _outline(spec: BackboneSpec) -> PixelBackbone:
    with torch.device("meta"):
        return PixelBackbone(spec).eval()


def _patch(network: Any) -> int | None:
    """The side of patches that lie side by side from the image's edge on; None where pixels are seen otherwise."""
    embedding = getattr(network, "patch_embed", getattr(network, "stem", None))
    if not isinstance(embedding, PatchEmbed) or embedding.dynamic_img_pad:
        return None
    return int(embedding.patch_size[0])


def _failure(spec: BackboneSpec) -> str | None:
    """What the network says instead of an answer to one image."""
    try:
        with torch.inference_mode():
            _outline(spec)(torch.empty((1, spec.image_size, spec.image_size, 3), dtype=torch.uint8, device="meta"))
    except WeightsError:
        raise
    # Each architecture refuses in its own way, by assertions, shapes or numbers.
    except Exception as error:
        return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    return None


def _nearest(spec: BackboneSpec, step: int) -> list[int]:
    below = spec.image_size // step * step
    sizes = [one for one in (below, below + step) if one >= SMALLEST and one != spec.image_size]
    return [one for one in sizes if _failure(replace(spec, image_size=one)) is None]
