"""Which methods this server may learn with; only the check itself imports the model's side."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from service.settings import Settings, WrongSettings

if TYPE_CHECKING:
    from model.method import Method


def check_method_apart(settings: Settings) -> None:
    """As `check_method`, in a process that then ends: what knows the methods would stay, 400 MB of it.

    The default, which goes by the backbone, needs no check, nor the seconds that it takes.
    """
    if settings.method is None:
        return
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
        apart.submit(check_method, settings).result()


def check_method(settings: Settings) -> None:
    """Raises WrongSettings, with the reason or the list, for a method that there is not or that is not offered."""
    from model.methods import UnknownMethod, method_named

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


def _check_fits(settings: Settings, method: "Method") -> None:
    """Raises WrongSettings where what the method trains has no place in the network of the settings."""
    from model.backbone import build
    from model.pretrained import WeightsError
    from model.tuners import UnfitBackbone
    from service.learner.bases import root_spec

    # A name that timm does not know is told by whoever needs its weights.
    with suppress(WeightsError):
        try:
            method.tuner.begin(build(root_spec(settings)), task=1, seed=0)
        except UnfitBackbone as error:
            raise WrongSettings(f"method: {error}") from None
