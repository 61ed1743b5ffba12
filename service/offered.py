"""What this server may learn and serve with: methods and features, the package that runs models, the device, weights.

Only the checks themselves import the model's side.
"""

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from service.settings import Settings, WrongSettings

if TYPE_CHECKING:
    from model.method import Method

log = logging.getLogger(__name__)


def check_offered(settings: Settings, *, learns: bool = True) -> None:
    """Raises WrongSettings, with the reason or the list, for what there is not or what does not fit the backbone.

    Image size and features of a root are held against its backbone, and the device is looked for, only where someone
    `learns`, and so may make one. The defaults, which go by the backbone, need no check, nor the seconds that it takes.
    """
    check_runtime(settings)
    if settings.serve.runtime == "openvino-bf16":
        _check_precision()
    if learns and settings.learn.device == "cuda":
        _check_device()
    if learns and (settings.norm == "fresh" or settings.pooling == "token+avg"):
        _check_features(settings)
    if learns and settings.image_size is not None:
        _check_image_size(settings)
    if settings.method is not None:
        _check_method(settings, settings.method)


def check_runtime(settings: Settings) -> None:
    """Raises WrongSettings where the package that is to run the versions is not installed; none of it is imported."""
    from model.judging.agreement import REFERENCE
    from model.runtime import is_installed

    kind = REFERENCE if settings.serve.runtime == "auto" else settings.serve.runtime
    if is_installed(kind):
        return
    extras = "pip install '.[cpu]'"
    if kind == REFERENCE:
        extras += ", or '.[gpu]' for an NVIDIA GPU"
    raise WrongSettings(
        f"serve.runtime: the package for {kind} is not installed, without which no version serves; {extras}"
    )


def check_weights(settings: Settings) -> None:
    """Raises WrongSettings where a first task would need a file of weights that is not there.

    Where there is a version the file is needed only for a task without a base: that is a warning.
    """
    if settings.weights is None or settings.weights.expanduser().is_file():
        return
    from service.stores import open_ledger

    missing = f"weights: there is no file {settings.weights}"
    ledger = open_ledger(settings)
    try:
        if not ledger.versions(limit=1).items:
            raise WrongSettings(missing)
    finally:
        ledger.close()
    log.warning("%s; a task without a base would fail", missing)


def _check_precision() -> None:
    """Raises WrongSettings where the runtime that is asked for needs what the CPU does not have."""
    from model.runtime import available_runtimes

    if "openvino-bf16" not in available_runtimes():
        raise WrongSettings("serve.runtime: this CPU does not compute in bf16, as openvino-bf16 needs it")


def _check_device() -> None:
    """Raises WrongSettings where there is no GPU that can be used."""
    import torch

    if not torch.cuda.is_available():
        raise WrongSettings("learn.device: there is no GPU here that PyTorch can use; auto takes the CPU then")


def _check_features(settings: Settings) -> None:
    """Raises WrongSettings where the backbone has no such last norm or no such features, or is unknown."""
    from model.backbones.backbone import build
    from model.backbones.pretrained import WeightsError
    from service.learner.bases import root_spec

    try:
        build(root_spec(settings))
    except WeightsError as error:
        raise WrongSettings(str(error)) from None


def _check_image_size(settings: Settings) -> None:
    """Raises WrongSettings where the backbone takes no such images."""
    from model.backbones.image_size import refusal_of_size
    from model.backbones.pretrained import WeightsError
    from service.learner.bases import root_spec

    # A name that timm does not know is told by whoever needs its weights.
    with suppress(WeightsError):
        if refusal := refusal_of_size(root_spec(settings)):
            raise WrongSettings(f"image_size: {refusal}")


def _check_method(settings: Settings, name: str) -> None:
    """Raises WrongSettings where there is no such method, or none that this server may learn with."""
    from model.methods import UnknownMethod, method_named

    try:
        method = method_named(name)
    except UnknownMethod as error:
        raise WrongSettings(f"method: {error}") from None
    refusals = method.refusals(allow_images=settings.learn.allow_images)
    if refusals:
        raise WrongSettings(f"method: a server cannot offer {name!r}: {'; '.join(refusals)}")
    _check_fits(settings, method)


def _check_fits(settings: Settings, method: "Method") -> None:
    """Raises WrongSettings where what the method trains has no place in the network of the settings."""
    from model.backbones.backbone import build
    from model.backbones.pretrained import WeightsError
    from model.tuners import UnfitBackbone
    from service.learner.bases import root_spec

    # A name that timm does not know is told by whoever needs its weights.
    with suppress(WeightsError):
        try:
            method.tuner.begin(build(root_spec(settings)), task=1, seed=0)
        except UnfitBackbone as error:
            raise WrongSettings(f"method: {error}") from None
