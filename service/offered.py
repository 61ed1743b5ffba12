"""Which methods this server may learn with; only the check itself imports the model's side."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from service.settings import Settings, WrongSettings


def check_method_apart(settings: Settings) -> None:
    """As `check_method`, in a process that then ends: what knows the methods would stay, 400 MB of it.

    The default method needs no check, nor the seconds that it takes.
    """
    if settings.method == Settings.model_fields["method"].default:
        return
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
        apart.submit(check_method, settings).result()


def check_method(settings: Settings) -> None:
    """Raises WrongSettings, with the reason or the list, for a method that there is not or that is not offered."""
    from model.methods import UnknownMethod, method_named

    try:
        method = method_named(settings.method)
    except UnknownMethod as error:
        raise WrongSettings(f"method: {error}") from None
    refusals = method.refusals(allow_images=settings.learn.allow_images)
    if refusals:
        raise WrongSettings(f"method: a server cannot offer {settings.method!r}: {'; '.join(refusals)}")
