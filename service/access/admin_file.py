"""A first admin key from a file, for containers: only its digest is kept."""

import logging
import re
import stat
from pathlib import Path

from service.settings import WrongSettings
from stream.keys import digest_of

SETTING = "keys.admin_file"
NAME = "admin file"
TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{32,512}")
"""What a bearer token may look like (RFC 6750), and long enough not to be guessed."""

log = logging.getLogger(__name__)


def read_admin_digest(path: Path) -> str:
    """The digest of the one token in the file; white space around it does not count.

    Raises WrongSettings, also where everyone may write the file.
    """
    try:
        mode = path.stat().st_mode
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not ASCII"
        raise WrongSettings(f"{SETTING}: {path} cannot be read: {why}") from None
    if mode & stat.S_IWOTH:
        raise WrongSettings(f"{SETTING}: everyone on this machine may write {path}, and so choose the key")
    if not TOKEN.fullmatch(token):
        raise WrongSettings(
            f"{SETTING}: {path} has to hold one key of 32 to 512 letters, digits and . _ ~ + / = - and nothing else"
        )
    return digest_of(token)


def warn_if_readable(path: Path) -> None:
    """Secrets are often mounted into containers readable by all, so that is said once and not refused."""
    if path.stat().st_mode & stat.S_IROTH:
        log.warning("%s: everyone on this machine may read %s", SETTING, path)
