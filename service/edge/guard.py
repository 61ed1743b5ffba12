"""Who may talk to a server without keys: this machine only, and no web page of another origin."""

from urllib.parse import urlsplit

from service.address import is_loopback
from service.edge.asgi import Scope
from service.problems import Problem

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
OWN_SITES = frozenset({"same-origin", "none"})


def objection(scope: Scope) -> Problem | None:
    """Why (403) this request is refused: not through loopback, by another name, or sent by a foreign page. Else None.

    A page elsewhere could otherwise reach the server through its visitor's browser, by a name that it makes resolve to
    127.0.0.1 or by a plain form.
    """
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    if not is_loopback((scope.get("server") or ("127.0.0.1",))[0]):
        return Problem(403, "without keys the server answers on loopback only")
    host = headers.get("host", "")
    if host_name(host) not in LOCAL_NAMES:
        return Problem(
            403, f"without keys the server answers to {', '.join(sorted(LOCAL_NAMES))} only, not to {host!r}"
        )
    origin = headers.get("origin")
    if origin is not None and _place(origin) != host.lower():
        return Problem(403, f"without keys no page of {origin!r} may use the server")
    if headers.get("sec-fetch-site", "none") not in OWN_SITES:
        return Problem(403, "without keys no other site's page may use the server")
    return None


def _place(origin: str) -> str | None:
    """Host and port of an Origin header; None where it is no address."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def host_name(host: str) -> str:
    """The name in a Host header, without the port, lower case."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()
