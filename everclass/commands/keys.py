"""`everclass keys`: for the operator, on a machine that reaches the database; no server need run."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import wraps
from getpass import getuser
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Concatenate, ParamSpec

import click

from everclass.commands.listing import ListByDefault
from everclass.commands.running import open_ledger, with_settings
from everclass.exits import Exit
from everclass.showing import show_json, show_table

if TYPE_CHECKING:
    from service.settings import Loaded
    from stream.keys import Key
    from stream.ledger import Ledger

SCOPES = ("predict", "learn", "admin")
SPAN = re.compile(r"([1-9][0-9]{0,5})([mhd])")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
Rest = ParamSpec("Rest")


@click.group(cls=ListByDefault)
def keys() -> None:
    """Make, list and revoke API keys, in the database of --data-dir or database_url.

    A server that runs takes a change within two seconds; the first key may be made before a server's first start.
    """


def with_ledger(*, make: bool = False) -> Callable[[Callable[Concatenate["Ledger", Rest], None]], Callable[..., None]]:
    """Give a command the ledger that the settings name, made with `make`, and turn its errors into exit codes."""

    def given(command: Callable[Concatenate["Ledger", Rest], None]) -> Callable[..., None]:
        @with_settings
        @wraps(command)
        def run(loaded: "Loaded", /, *args: Rest.args, **kwargs: Rest.kwargs) -> None:
            with open_ledger(loaded, make=make) as ledger, _errors():
                command(ledger, *args, **kwargs)

        return run

    return given


@contextmanager
def _errors() -> Iterator[None]:
    from stream.errors import Conflict, InvalidContent, NotFound, StreamError

    codes = {NotFound: Exit.NOT_FOUND, Conflict: Exit.CONFLICT, InvalidContent: Exit.REFUSED}
    try:
        yield
    except (StreamError, ValueError) as error:
        click.echo(f"everclass: {error}", err=True)
        raise SystemExit(int(codes.get(type(error), Exit.FAILED))) from None


@keys.command()
@click.option("--scope", type=click.Choice(SCOPES), required=True, help="learn includes predict, admin includes both.")
@click.option("--name", required=True, help="Stands in the logs for what is done with the key.")
@click.option("--expires", metavar="SPAN", help="The key's life, such as 90m, 12h or 30d. [for ever]")
@click.option("--rate", type=float, help="Requests a second, at most.")
@click.option("--images-per-day", type=int, help="Images to learn from in any 24 hours, at most.")
@click.option("--to", "file", type=click.Path(), help="Write it into this new file, which its owner alone may read.")
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document on stdout.")
@with_ledger(make=True)
def create(
    ledger: "Ledger",
    scope: str,
    name: str,
    expires: str | None,
    rate: float | None,
    images_per_day: int | None,
    file: str | None,
    as_json: bool,
) -> None:
    """Make a key. It is shown this once: only a digest of it is kept."""
    from stream.keys import NewKey, Scope

    expires_at = None if expires is None else datetime.now(UTC) + span(expires)
    with _new_file(file) as write:
        key, token = ledger.create_key(NewKey(name, Scope(scope), expires_at, rate, images_per_day))
        try:
            write(token)
        except OSError as error:
            _note(ledger, "everclass keys create", key)
            _note(ledger, "everclass keys revoke", ledger.revoke_key(key.id))
            raise ValueError(f"{file} cannot be written, and the key is revoked: {error.strerror}") from error
    _note(ledger, "everclass keys create", key)
    if as_json:
        show_json(_shown(key) if file else {**_shown(key), "key": token})
        return
    if file is None:
        click.echo(token)
    where = "keep it now" if file is None else f"it stands in {file}"
    click.echo(f"key {key.id} ({key.name}, {key.scope}): {where}, it cannot be shown again", err=True)


@contextmanager
def _new_file(path: str | None) -> Iterator[Callable[[str], None]]:
    """Somewhere to write a line, made before there is anything to write; gone again if the block raises."""
    if path is None:
        yield lambda line: None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--to") from None
    try:

        def write(line: str) -> None:
            os.write(descriptor, f"{line}\n".encode())
            os.fsync(descriptor)

        yield write
    except BaseException:
        Path(path).unlink()
        raise
    finally:
        os.close(descriptor)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document on stdout.")
@with_ledger()
def list_keys(ledger: "Ledger", as_json: bool) -> None:
    """List all keys, those that are of no use any more too. The keys themselves are nowhere to be seen."""
    found = ledger.all_keys()
    if as_json:
        show_json({"items": [_shown(key) for key in found]})
        return
    headings = ("id", "name", "scope", "state", "created", "expires", "last used", "rate", "images a day")
    show_table(headings, [_row(key) for key in found])


@keys.command()
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document on stdout.")
@with_ledger()
def revoke(ledger: "Ledger", key: str, as_json: bool) -> None:
    """Revoke the key with this id or name, for good."""
    revoked = ledger.revoke_key(key)
    _note(ledger, "everclass keys revoke", revoked)
    if as_json:
        show_json(_shown(revoked))
    else:
        click.echo(f"key {revoked.id} ({revoked.name}) is revoked")


def _note(ledger: "Ledger", command: str, key: "Key") -> None:
    """Write into the audit log what was done to a key, and by which account of this machine."""
    from stream.keys import AuditEntry

    who = f"{getuser()} at {gethostname()}"
    about = f"{key.id} {key.name} {key.scope}"
    now = datetime.now(UTC)
    ledger.record_audit([AuditEntry(now, None, who, command, "RUN", 200, about, None)])


def span(text: str) -> timedelta:
    """`30d`, `12h` or `90m` as a time; a usage error for anything else."""
    found = SPAN.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is not a number of m, h or d", param_hint="--expires")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def _shown(key: "Key") -> dict[str, object]:
    """All of it but the digest."""
    known = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(key).items()}
    del known["digest"]
    return {**known, "state": _state(key)}


def _state(key: "Key") -> str:
    ended = key.ended(datetime.now(UTC))
    return "in use" if ended is None else ended.split()[-1]


def _row(key: "Key") -> tuple[object, ...]:
    return (
        key.id,
        key.name,
        key.scope,
        _state(key),
        key.created_at,
        key.expires_at,
        key.last_used_at,
        key.rate,
        key.images_per_day,
    )
