"""`everclass serve`, `learner` and `config`: the commands that need the server's own packages, loaded only then."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from everclass.client import Client
from everclass.errors import EverclassError
from everclass.exits import Exit
from everclass.showing import show_json, show_table
from everclass.transport import Patience

if TYPE_CHECKING:
    from service.settings import Loaded
    from stream.ledger import Ledger

PROBE_S = 2.0
SERVE_FLAGS = {"host": "host", "port": "port", "ssl_certfile": "tls.certfile", "ssl_keyfile": "tls.keyfile"}
"""The settings behind the flags of `everclass serve`."""

Rest = ParamSpec("Rest")


def settings_flags(given: tuple[str, ...]) -> dict[str, object]:
    """`NAME=VALUE` pairs as flags: a value that is a number, true or false in JSON is that, all else is text.

    `null` and `none` are text too: what they mean is for the settings to say, which know who may be without a value.
    """
    flags: dict[str, object] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--set")
        flags[name] = _value(value)
    return flags


def _value(text: str) -> object:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


def with_settings(command: Callable[Concatenate["Loaded", Rest], None]) -> Callable[..., None]:
    """Give a command `--config`, `--data-dir` and `--set`, and the settings that follow from them.

    Settings that cannot be used end it with `Exit.USAGE`, a database or a disk that does not answer with `Exit.LATER`,
    one that another machine uses with `Exit.CONFLICT`.
    """

    @click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file. [everclass.toml]")
    @click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Folder of database and blobs.")
    @click.option(
        "--set",
        "pairs",
        multiple=True,
        metavar="NAME=VALUE",
        help="Any setting, such as learn.epochs=3; none takes its value away.",
    )
    @wraps(command)
    def run(
        config: Path | None, data_dir: Path | None, pairs: tuple[str, ...], *args: Rest.args, **kwargs: Rest.kwargs
    ) -> None:
        from service.settings import load_settings

        taken: dict[str, Any] = {name: kwargs.pop(flag) for flag, name in SERVE_FLAGS.items() if flag in kwargs}
        with start_errors_as_exit_codes():
            loaded = load_settings({"config": config, "data_dir": data_dir, **taken, **settings_flags(pairs)})
            command(loaded, *args, **kwargs)

    return run


@contextmanager
def start_errors_as_exit_codes() -> Iterator[None]:
    """Say in one line on stderr why something of the server cannot start, and end with the code that stands for it."""
    from service.settings import WrongSettings
    from stream.errors import Conflict, StorageFull, StreamError, Unavailable

    codes = {WrongSettings: Exit.USAGE, Unavailable: Exit.LATER, StorageFull: Exit.LATER, Conflict: Exit.CONFLICT}
    try:
        yield
    except (WrongSettings, StreamError) as error:
        click.echo(f"everclass: {error}", err=True)
        raise SystemExit(int(codes.get(type(error), Exit.FAILED))) from None


@contextmanager
def open_ledger(loaded: "Loaded", *, make: bool = False) -> Iterator["Ledger"]:
    """The ledger that the settings name, closed at the end.

    Where there is none yet, whoever came to look at one has most likely named the wrong folder: that is a usage error
    and nothing is made. With `make` one is made, and that is said.
    """
    from service import stores
    from stream.errors import NoLedger

    try:
        ledger = stores.open_ledger(loaded.settings, make=False)
    except NoLedger as error:
        if not make:
            click.echo(f"everclass: {error}: mind --data-dir, or the setting database_url", err=True)
            raise SystemExit(int(Exit.USAGE)) from None
        click.echo(f"everclass: {error}; a new database is made there", err=True)
        ledger = stores.open_ledger(loaded.settings)
    try:
        yield ledger
    finally:
        ledger.close()


@click.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on.")
@click.option("--ssl-certfile", type=click.Path(dir_okay=False, path_type=Path), help="Certificate (PEM), for HTTPS.")
@click.option("--ssl-keyfile", type=click.Path(dir_okay=False, path_type=Path), help="Its private key (PEM).")
@click.option("--no-learner", is_flag=True, help="Only answer; a learner runs elsewhere.")
@with_settings
def serve(loaded: "Loaded", no_learner: bool) -> None:
    """Start a server: the service that answers and, unless --no-learner is given, the learner, both supervised."""
    from service.starting import check_start_apart
    from service.supervisor import serve as supervise

    check_start_apart(loaded.settings, learns=not no_learner)
    raise SystemExit(supervise(loaded.settings, learner=not no_learner))


@click.command()
@with_settings
def learner(loaded: "Loaded") -> None:
    """Start a learner alone, for a service that runs elsewhere on the same database and blobs."""
    from service.learner import run
    from service.starting import check_start

    check_start(loaded.settings, learns=True)
    raise SystemExit(run(loaded.settings))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document on stdout.")
@with_settings
def config(loaded: "Loaded", as_json: bool) -> None:
    """Show the settings in force and where each comes from.

    Where a server with these settings runs and its version in force was made with others, the version's win; that is
    shown too.
    """
    from service.address import address

    shown = loaded.settings.shown()
    won_over = _won_over(address(loaded.settings))
    if as_json:
        values = {name: {"value": value, "source": loaded.sources[name]} for name, value in shown.items()}
        show_json({"settings": values, "differs": won_over})
        return
    show_table(("setting", "value", "from"), [(name, value, loaded.sources[name]) for name, value in shown.items()])
    for sentence in won_over or ():
        click.echo(f"the version in force differs: {sentence}")


def _won_over(url: str) -> list[str] | None:
    """What the running server says about settings that its version in force has otherwise; None without a server."""
    with Client(url, patience=Patience(timeout_s=PROBE_S, retries=0)) as client:
        try:
            return list(client.readiness().differs)
        except EverclassError:
            return None
