"""Headers that every answer carries: what a browser must not do with it."""

from starlette.datastructures import MutableHeaders

from service.asgi import Message

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
UNLESS_SAID = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""A route that says otherwise knows why."""


def harden(message: Message) -> None:
    """Add them to the beginning of an answer."""
    message.setdefault("headers", [])
    headers = MutableHeaders(scope=message)
    headers.update(ALWAYS)
    for name, value in UNLESS_SAID.items():
        headers.setdefault(name, value)
