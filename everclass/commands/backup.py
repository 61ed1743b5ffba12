"""`everclass backup` and `restore`, on a machine that reaches database and blobs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from everclass.commands.running import open_ledger, with_settings
from everclass.exits import Exit
from everclass.showing import count_bar, show_json

if TYPE_CHECKING:
    from service.settings import Loaded
    from stream.backup import Copied

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@with_settings
def backup(loaded: "Loaded", folder: Path, as_json: bool) -> None:
    """Copy all that the server knows into FOLDER, every byte checked; the server may run meanwhile.

    A folder that holds an earlier backup of this server gets what is new; one of another server is left as it is. It
    ends with 1 where a file that is needed is missing or damaged. The copy holds clients' images and the hashes of API
    keys.
    """
    from service.stores import open_blobs
    from stream.backup import back_up

    with open_ledger(loaded) as ledger, _said(), count_bar("copying") as on_blob:
        copied = back_up(ledger, open_blobs(loaded.settings), folder, on_blob=on_blob)
    _show(copied, as_json, f"in {folder}")


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@with_settings
def restore(loaded: "Loaded", folder: Path, as_json: bool) -> None:
    """Put the backup in FOLDER where nothing is yet: the data folder, or the database and blobs, of the settings."""
    from service.stores import open_blobs, open_ledger
    from stream.backup import restore as put_back

    settings = loaded.settings
    blobs = open_blobs(settings)
    open_ledger(settings).close()
    with _said(), count_bar("restoring") as on_blob:
        copied = put_back(folder, settings.database, blobs, on_blob=on_blob)
    _show(copied, as_json, f"restored to {settings.root}")


@contextmanager
def _said() -> Iterator[None]:
    from stream.backup import NoBackup
    from stream.errors import Conflict, StreamError

    try:
        yield
    except (NoBackup, StreamError) as error:
        click.echo(f"everclass: {error}", err=True)
        sys.exit(Exit.CONFLICT if isinstance(error, Conflict) else Exit.FAILED)


def _show(copied: "Copied", as_json: bool, where: str) -> None:
    if as_json:
        show_json(asdict(copied))
    else:
        click.echo(f"{copied.blobs} files {where}, {copied.fresh} of them new, {copied.size_bytes / 2**20:.1f} MiB")
        for key in copied.missing:
            click.echo(f"missing or damaged: {key}")
    sys.exit(Exit.FAILED if copied.missing else Exit.DONE)
