"""Which methods this server may learn with; imports the model's side, and so is asked only by who learns or starts."""

from model.methods import UnknownMethod, method_named
from service.settings import Settings, WrongSettings


def check_method(settings: Settings) -> None:
    """Raises WrongSettings, with the reason or the list, for a method that there is not or that is not offered."""
    try:
        method = method_named(settings.method)
    except UnknownMethod as error:
        raise WrongSettings(f"method: {error}") from None
    refusals = method.refusals(allow_images=settings.learn.allow_images)
    if refusals:
        raise WrongSettings(f"method: a server cannot offer {settings.method!r}: {'; '.join(refusals)}")
