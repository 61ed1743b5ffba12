"""A tiny network of timm's kind whose way depends on what it sees, which no exporter can write down."""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

NAME = "hesitant_vit"

SETTINGS = {
    "input_size": (3, 32, 32),
    "fixed_input_size": True,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "first_conv": "patch_embed.proj",
    "classifier": "head",
}
default_cfgs = generate_default_cfgs({NAME: SETTINGS})


class Hesitant(VisionTransformer):
    """Its features in one of two ways, which come to the same."""

    def forward_features(self, x: Tensor, *given: Any, **named: Any) -> Tensor:
        features_NTD = super().forward_features(x, *given, **named)
        return features_NTD if features_NTD.sum() > 0 else features_NTD + 0.0


@register_model
def hesitant_vit(pretrained: bool = False, **given: Any) -> nn.Module:
    """The network by the name under which timm makes it."""
    sizes = {"img_size": 32, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 2}
    return build_model_with_cfg(Hesitant, NAME, pretrained, **{**sizes, **given})
