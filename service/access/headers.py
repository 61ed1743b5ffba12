"""Headers that every answer carries: what a browser must not do with it."""

from service.edge.asgi import Message

ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
UNLESS_SAID = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""A route that says otherwise knows why."""


def harden(message: Message) -> None:
    """Add them to the beginning of an answer; ASGI has the names of headers in lower case."""
    said = message.get("headers", ())
    names = {name for name, _ in said}
    message["headers"] = [*said, *ALWAYS, *(header for header in UNLESS_SAID if header[0] not in names)]
