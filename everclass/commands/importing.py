"""`everclass import`, on a machine that reaches database and blobs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from everclass.commands.running import open_ledger, with_settings
from everclass.exits import Exit
from everclass.showing import show_json

if TYPE_CHECKING:
    from service.settings import Loaded


@click.command("import")
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--note", help="A note that stays with the version.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@with_settings
def import_archive(loaded: "Loaded", archive: Path, note: str | None, as_json: bool) -> None:
    """Make a held version of ARCHIVE, which `export --format safetensors` wrote; the server may run meanwhile.

    It serves once it is promoted, and is learned on from then on. Where no server has started yet, the database is
    made.
    """
    from service.archives.importing import WrongArchive, import_version
    from service.offered import check_runtime
    from service.schemas import VersionBody
    from service.stores import open_blobs
    from stream.errors import StreamError

    check_runtime(loaded.settings)
    with open_ledger(loaded, make=True) as ledger:
        try:
            version = import_version(ledger, open_blobs(loaded.settings), loaded.settings, archive, note=note)
        except (WrongArchive, StreamError) as error:
            click.echo(f"everclass: {archive}: {error}", err=True)
            sys.exit(Exit.REFUSED if isinstance(error, WrongArchive) else Exit.FAILED)
    if as_json:
        show_json(VersionBody.of(version))
        return
    number, classes = version.version, len(version.classes)
    click.echo(f"version {number} with {classes} classes is held; to let it serve: everclass promote {number}")
