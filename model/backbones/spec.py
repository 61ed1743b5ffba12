"""What a backbone is, apart from its weights."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Norm = Literal["pretrained", "fresh"]
Pooling = Literal["pretrained", "token+avg"]
Interpolation = Literal["bicubic", "bilinear"]


@dataclass(frozen=True)
class BackboneSpec:
    """An architecture and how pixels reach it; fixed for a root version and all its descendants.

    `name` is a timm model name, `image_size` the side in pixels of the square input, `mean` and `std` the normalisation
    of RGB values in 0–1, `crop_fraction` the part of the resized short side that the central crop keeps. `norm` is
    `pretrained` (the weights' own last normalisation) or `fresh` (a new LayerNorm, as the SLCA reference has it).
    `pooling` is `pretrained` (features as the weights' own classifier saw them) or `token+avg` (the class token's
    beside the mean of the patch tokens', as in DINO's linear evaluation: twice as long, for the same forward pass).
    """

    name: str
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_fraction: float = 1.0
    interpolation: Interpolation = "bicubic"
    norm: Norm = "pretrained"
    pooling: Pooling = "pretrained"

    def novelty_dim(self, feature_dim: int) -> int:
        """K, how many of a feature's `feature_dim` numbers, the first ones, tell known images from unknown ones.

        All, but with `token+avg` the class token's half alone: the mean of the patch tokens varies between images of
        any class.
        """
        return feature_dim // 2 if self.pooling == "token+avg" else feature_dim

    def to_json(self) -> dict[str, Any]:
        """The spec as plain JSON values, without `pooling` where it is the weights' own: so it was written before there
        was another, and what is keyed by it stays.
        """
        told = asdict(self)
        return {name: value for name, value in told.items() if (name, value) != ("pooling", "pretrained")}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "BackboneSpec":
        """The spec that `to_json` wrote."""
        return cls(**{**value, "mean": tuple(value["mean"]), "std": tuple(value["std"])})
