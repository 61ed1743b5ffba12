"""With which methods and features this server may learn; only the check itself imports the model's side."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from service.settings import Settings, WrongSettings

if TYPE_CHECKING:
    from model.method import Method


def check_offered_apart(settings: Settings, *, learns: bool = True) -> None:
    """As `check_offered`, in a process that then ends: what knows the methods would stay, 400 MB of it.

    The defaults, which go by the backbone, need no check, nor the seconds that it takes.
    """
    if settings.method is None and not (learns and _asks_of_the_root(settings)):
        return
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
        apart.submit(check_offered, settings, learns=learns).result()


def check_offered(settings: Settings, *, learns: bool = True) -> None:
    """Raises WrongSettings, with the reason or the list, for what there is not or what does not fit the backbone.

    Image size and features of a root are held against its backbone only where someone `learns`, and so may make one.
    """
    from model.methods import UnknownMethod, method_named

    if learns and _asks_for_features(settings):
        _check_features(settings)
    if learns and settings.image_size is not None:
        _check_image_size(settings)
    if settings.method is None:
        return
    try:
        method = method_named(settings.method)
    except UnknownMethod as error:
        raise WrongSettings(f"method: {error}") from None
    refusals = method.refusals(allow_images=settings.learn.allow_images)
    if refusals:
        raise WrongSettings(f"method: a server cannot offer {settings.method!r}: {'; '.join(refusals)}")
    _check_fits(settings, method)


def _asks_of_the_root(settings: Settings) -> bool:
    return settings.image_size is not None or _asks_for_features(settings)


def _asks_for_features(settings: Settings) -> bool:
    return settings.norm == "fresh" or settings.pooling == "token+avg"


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
