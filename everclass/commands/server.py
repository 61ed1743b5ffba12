"""What a command needs to reach a server: its address, a key, how to answer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec

import click

from everclass.client import DEFAULT_URL, Client
from everclass.exits import errors_as_exit_codes
from everclass.transport import TRANSFER_TIMEOUT_S, Patience

Rest = ParamSpec("Rest")


@dataclass(frozen=True)
class Server:
    """The server that a command speaks to; `as_json` where a script reads the answer."""

    client: Client
    as_json: bool


def with_server(command: Callable[Concatenate[Server, Rest], None]) -> Callable[..., None]:
    """Give a command `--url`, `--key`, `--key-file`, `--timeout` and `--json`, and turn its errors into exit codes."""

    @click.option(
        "--url", envvar="EVERCLASS_URL", default=DEFAULT_URL, show_default=True, help="Address of the server."
    )
    @click.option("--key", help="API key. Others on the machine see it here: better EVERCLASS_KEY or --key-file.")
    @click.option(
        "--key-file",
        envvar="EVERCLASS_KEY_FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="File that holds the API key.",
    )
    @click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        help="Seconds to wait for an answer. [60, and 600 where images or archives are moved]",
    )
    @click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document on stdout.")
    @wraps(command)
    def run(
        url: str,
        key: str | None,
        key_file: Path | None,
        timeout_s: float | None,
        as_json: bool,
        *args: Rest.args,
        **kwargs: Rest.kwargs,
    ) -> None:
        patience = Patience(timeout_s=timeout_s, retries=4, pauses_s=10.0, within_s=timeout_s or TRANSFER_TIMEOUT_S)
        with errors_as_exit_codes(), Client(url, key=key or _read(key_file), patience=patience) as client:
            command(Server(client, as_json), *args, **kwargs)

    return run


def _read(key_file: Path | None) -> str | None:
    """The key in the file. Raises ValueError where there is none, or more than a key."""
    if key_file is None:
        return None
    key = key_file.read_text().strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError(f"{key_file} has to hold one key and nothing else")
    return key
