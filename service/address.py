"""Where a server may listen, and where it is found."""

import socket
from ipaddress import ip_address

from service.settings import Settings, WrongSettings


def check_address(settings: Settings) -> None:
    """Raises WrongSettings where the server may not or cannot listen."""
    refuse_open_host(settings)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((numeric(settings.host), settings.port))
        except OSError as error:
            raise WrongSettings(f"port: {settings.port} cannot be used: {error.strerror}") from None


def refuse_open_host(settings: Settings) -> None:
    """Raises WrongSettings where the server would be open to other machines without asking for keys."""
    if settings.keys.admin_file is not None:
        raise WrongSettings("keys.admin_file: this release has no keys yet, and serves on loopback only")
    if not is_loopback(settings.host):
        raise WrongSettings(f"host: without keys the server binds to loopback only, not to {settings.host}")


def numeric(host: str) -> str:
    """The host as an address, which is what BentoML takes."""
    return "127.0.0.1" if host == "localhost" else host


def address(settings: Settings) -> str:
    """Where the server answers."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def is_loopback(address: str) -> bool:
    """Whether a server address is one of this machine's own; a socket file is."""
    if address == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address.startswith("/")
