"""One hostile request: what is sent, and what has to come back."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

BOUNDARY = "attack-0123456789"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(frozen=True)
class Attack:
    """`body` is made when it is needed. `field` is the one that the answer's errors name first; None: no errors."""

    name: str
    path: str
    body: Callable[[], bytes]
    status: int
    field: str | None = None
    content_type: str = MULTIPART


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    """One part of a form."""
    called = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{called}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A whole form."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def labelled(image: bytes, label: str = "attacked", filename: str = "a.jpg") -> bytes:
    """The form of a learn request with one image."""
    return form(part("images", image, filename), part("labels", label.encode()))


def both(name: str, make: Callable[[], bytes], refused: int | None = None) -> list[Attack]:
    """The image sent to both doors, as what it says it is: a JPEG. `refused` None: it is harmless, and is taken."""
    field, made = None if refused is None else "images[0]", cache(make)
    return [
        Attack(f"predict: {name}", "/predict", made, refused or 200, field, "image/jpeg"),
        Attack(f"learn: {name}", "/learn", lambda: labelled(made()), refused or 202, field),
    ]
