"""Where a server may listen, and where it is found."""

import socket
import ssl
from ipaddress import ip_address

from service.access.admin_file import read_admin_digest
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
    """Raises WrongSettings where the server would be open to other machines without asking for keys.

    The same where the file with the admin key or the certificate cannot be used.
    """
    check_tls(settings)
    if settings.keys.admin_file is not None:
        read_admin_digest(settings.keys.admin_file)
    elif not is_loopback(settings.host) and not has_keys(settings):
        raise WrongSettings(
            f"host: without keys the server binds to loopback only, not to {settings.host}; "
            "make a key with `everclass keys create --scope admin --name NAME`, or name a file in keys.admin_file"
        )


def has_keys(settings: Settings) -> bool:
    """Whether the database holds a key. Raises as `service.stores.open_ledger`."""
    from service.stores import open_ledger

    ledger = open_ledger(settings)
    try:
        return ledger.key_changes() > 0
    finally:
        ledger.close()


def check_tls(settings: Settings) -> None:
    """Raises WrongSettings where certificate and private key cannot be read or do not belong together."""
    tls = settings.tls
    if tls.certfile is None:
        if tls.keyfile is not None:
            raise WrongSettings("tls.certfile: there is a tls.keyfile, but no certificate")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certfile, tls.keyfile, password=_no_password)
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise WrongSettings(f"tls.certfile: {tls.certfile} cannot be used: {words}") from None


def _no_password() -> str:
    """Where openssl would ask for a password on the terminal."""
    raise ValueError("the private key is under a password")


def numeric(host: str) -> str:
    """The host as an address, which is what BentoML takes."""
    return "127.0.0.1" if host == "localhost" else host


def address(settings: Settings) -> str:
    """Where the server answers."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'http' if settings.tls.certfile is None else 'https'}://{host}:{settings.port}"


def is_loopback(address: str) -> bool:
    """Whether a server address is one of this machine's own; a socket file is."""
    if address == "localhost":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address.startswith("/")
