"""The network from pixels to features: any timm architecture, its normalisation inside."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import Any, Final, Literal, Self

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from model.backbones.spec import BackboneSpec, Pooling

Precision = Literal["fp32", "bf16"]

FRESH_NORM_EPSILON: Final = 1e-5
"""Of the LayerNorm that replaces the pre-trained one; timm's own is 1e-6 (SLCA code: `convs/vits.py`)."""


LARGEST_TABLES_BYTES: Final = 1 << 30
"""Of buffers that are no weights, in a network whose name and image size a stranger chose."""


MOST_TOKENS_SPELT_OUT: Final = 256
"""Patches up to which attention in bf16 on a CPU is spelt out, which is faster (`benchmarks/results/attention.md`).

What it holds for the backward pass grows with their square: at 196 it is 10 to 16 % more beside the rest.
"""


LEAST_CHANNELS_LAST: Final = 16
"""Channels from which on the gradient of a strided 1×1 convolution is right with the channels last."""


NAMED: Final = 3
"""Tensors of another network that are told by name; it has hundreds."""


class WeightsError(ValueError):
    """Weights that do not fit the architecture, or that cannot be had; the text names what is wrong."""


class NoLayerNorm(WeightsError):
    """A fresh last norm is asked of an architecture that does not end in a LayerNorm."""


class PixelBackbone(nn.Module):
    """A timm network without its classifier, from uint8 pixels to the features that its classifier would see.

    With `pooling` of the spec `token+avg` the mean of the patch tokens stands behind these.

    `pixel_mean` and `pixel_std` are buffers, so that weights bring their own normalisation. Running statistics of
    BatchNorm never move, also in training mode: batches of one task would bend them away from all the others.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        self.spec = spec
        self.network = _network(spec)
        self._learns_planar = _has_narrow_strides(self.network)
        self.register_buffer("pixel_mean", torch.tensor(spec.mean, dtype=torch.float32))
        self.register_buffer("pixel_std", torch.tensor(spec.std, dtype=torch.float32))

    @property
    def feature_dim(self) -> int:
        """D, the length of a feature vector."""
        own = int(getattr(self.network, "head_hidden_size", None) or self.network.num_features)
        return own + self.token_dim if self.spec.pooling == "token+avg" else own

    @property
    def token_dim(self) -> int:
        """The length of a vision transformer's token as it leaves the last block."""
        return int(self.network.num_features)

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return self.pixel_mean.device

    def forward(self, pixels_BHWC: Tensor) -> Tensor:
        """`features_BD`, float32 unless under autocast, of uint8 RGB pixels of the spec's image size."""
        images_BHWC = (pixels_BHWC.to(torch.float32) / 255 - self.pixel_mean) / self.pixel_std
        images_BCHW = images_BHWC.permute(0, 3, 1, 2)
        if self._learns_planar and torch.is_grad_enabled() and self.device.type == "cpu":
            images_BCHW = images_BCHW.contiguous()
        features = self.network.forward_features(images_BCHW)
        features_BD: Tensor = self.network.forward_head(features, pre_logits=True)
        if self.spec.pooling == "token+avg":
            patches_BND = features[:, self.network.num_prefix_tokens :]
            return torch.cat([features_BD, patches_BND.mean(dim=1)], dim=1)
        return features_BD

    def train(self, mode: bool = True) -> Self:
        """Training mode for everything but BatchNorm."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def state(self) -> dict[str, Tensor]:
        """Every weight by name, parameters and buffers, copied to the CPU."""
        weights = self._weights().items()
        return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in weights}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights that `state` wrote; raises `WeightsError` naming what does not fit."""
        check_names(self._weights(), state)
        self.load_state_dict(dict(state), strict=False)

    def _weights(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.state_dict().items() if is_weight(name)}


def build(spec: BackboneSpec) -> PixelBackbone:
    """The architecture with random weights, in evaluation mode; raises `WeightsError` for a name unknown to timm."""
    return PixelBackbone(spec).eval()


def check_fits(spec: BackboneSpec, state: Mapping[str, Tensor]) -> None:
    """Raise `WeightsError` unless `state` is weights of the architecture, and what it keeps beside them (tables of
    positions, which grow with the image) is of bearable size; costs no memory, however large all that is.
    """
    with torch.device("meta"):
        outline = PixelBackbone(spec)
    check_names(outline._weights(), state)
    tables = sum(buffer.numel() * buffer.element_size() for buffer in outline.buffers())
    if tables > LARGEST_TABLES_BYTES:
        raise WeightsError(f"{spec.name} at {spec.image_size} pixels needs {tables >> 20} MiB beside its weights")


def known_settings(name: str) -> Any:
    """What timm's table says of an architecture's weights; raises `WeightsError` for a name that it does not hold."""
    try:
        settings = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise WeightsError(f"timm knows no backbone {name!r}: {error}") from error
    if settings is None:
        raise WeightsError(f"timm knows no backbone {name!r}")
    return settings


def size_settings(spec: BackboneSpec) -> dict[str, Any]:
    """What `timm.create_model` has to be told of the image size: only architectures with a fixed input take it."""
    return {"img_size": spec.image_size} if known_settings(spec.name).fixed_input_size else {}


def is_weight(name: str) -> bool:
    """Whether a tensor of a network is one of its weights: BatchNorm's step counters, which nothing reads, are not."""
    return not name.endswith(".num_batches_tracked")


def check_names(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Raise `WeightsError` unless both have the same names with the same shapes."""
    shared = expected.keys() & given.keys()
    problems = {
        "missing": sorted(expected.keys() - shared),
        "unexpected": sorted(given.keys() - shared),
        "of another shape": sorted(name for name in shared if expected[name].shape != given[name].shape),
    }
    found = [f"{what}: {_first_of(names)}" for what, names in problems.items() if names]
    if found:
        raise WeightsError("the weights do not fit the backbone: " + "; ".join(found))


def _first_of(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"


def extract_features(
    backbone: PixelBackbone,
    views: Iterable[NDArray[np.uint8]],
    *,
    batch_size: int,
    precision: Precision = "fp32",
    on_batch: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """`features_ND`, in evaluation mode, of views of the spec's image size, taken one batch at a time.

    `on_batch` is told after each batch how many images are done, and may raise to stop.
    """
    was_training = backbone.training
    backbone.eval()
    done, parts = 0, []
    try:
        for pixels_BHWC in _batches(views, batch_size):
            parts.append(_features(backbone, pixels_BHWC, precision))
            done += len(pixels_BHWC)
            if on_batch is not None:
                on_batch(done)
    finally:
        backbone.train(was_training)
    return np.concatenate(parts) if parts else np.zeros((0, backbone.feature_dim), np.float32)


@cache
def default_pooling(name: str) -> Pooling:
    """Which features of this timm network are told apart best: with the mean of the patches where it has a class token.

    Measured in `docs/decisions/0023`. Raises `WeightsError` for an unknown name.
    """
    known_settings(name)
    network = timm.create_model(name, pretrained=False, num_classes=0)
    return "token+avg" if _has_class_token(network) else "pretrained"


@contextmanager
def autocast(backbone: PixelBackbone, precision: Precision) -> Iterator[None]:
    """The context in which the network runs in this precision, and one after the other: it is changed meanwhile.

    On a CPU in bf16 the attention of a vision transformer with few tokens is computed as products and a softmax.
    """
    if precision == "fp32":
        yield
        return
    spelt_out = _fused_attention(backbone) if backbone.device.type == "cpu" else []
    for layer in spelt_out:
        layer.fused_attn = False
    try:
        with torch.autocast(backbone.device.type, torch.bfloat16):
            yield
    finally:
        for layer in spelt_out:
            layer.fused_attn = True


def _fused_attention(backbone: PixelBackbone) -> list[Any]:
    """timm's attention layers that use torch's fused kernel, of a network with few enough tokens to do without it."""
    tokens = getattr(getattr(backbone.network, "patch_embed", None), "num_patches", None)
    if tokens is None or tokens > MOST_TOKENS_SPELT_OUT:
        return []
    return [layer for layer in backbone.modules() if getattr(layer, "fused_attn", False) is True]


def _features(backbone: PixelBackbone, pixels_BHWC: NDArray[np.uint8], precision: Precision) -> NDArray[np.float32]:
    with torch.inference_mode(), autocast(backbone, precision):
        features_BD: Tensor = backbone(torch.from_numpy(pixels_BHWC).to(backbone.device))
    return features_BD.float().cpu().numpy()


def _batches(views: Iterable[NDArray[np.uint8]], batch_size: int) -> Iterator[NDArray[np.uint8]]:
    waiting = iter(views)
    while batch := list(islice(waiting, batch_size)):
        yield np.stack(batch)


def _network(spec: BackboneSpec) -> Any:
    network = timm.create_model(spec.name, pretrained=False, num_classes=0, **size_settings(spec))
    if spec.pooling == "token+avg" and not _has_class_token(network):
        raise WeightsError(f"pooling: {spec.name} does not give a class token's features with patches behind it")
    return _with_fresh_norm(network, spec) if spec.norm == "fresh" else network


def _has_narrow_strides(network: nn.Module) -> bool:
    """Whether a strided 1×1 convolution reads fewer than 16 channels, as in the stems of RepVGG, MobileOne and FastViT.

    With the channels last, the gradient of such weights on a CPU writes where it must not (oneDNN, seen with torch
    2.14): the process dies, now or later.
    """
    layers = (one for one in network.modules() if isinstance(one, nn.Conv2d))
    return any(
        max(one.kernel_size) == 1 and max(one.stride) > 1 and 1 < one.in_channels // one.groups < LEAST_CHANNELS_LAST
        for one in layers
    )


def _has_class_token(network: Any) -> bool:
    return getattr(network, "global_pool", None) == "token" and getattr(network, "num_prefix_tokens", 0) > 0


def _with_fresh_norm(network: Any, spec: BackboneSpec) -> Any:
    if not isinstance(getattr(network, "norm", None), nn.LayerNorm):
        raise NoLayerNorm(f"norm: {spec.name} does not end in a LayerNorm that could be made fresh")
    network.norm = nn.LayerNorm(network.num_features, eps=FRESH_NORM_EPSILON)
    return network
