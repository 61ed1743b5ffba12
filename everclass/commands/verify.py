"""`everclass verify`: every stored byte against its digest, on a machine that reaches database and blobs."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from everclass.commands.running import open_ledger, with_settings
from everclass.exits import Exit
from everclass.showing import show_json, show_table

if TYPE_CHECKING:
    from service.settings import Loaded
    from stream.verification import Verified


@click.command()
@click.option("--no-mark", is_flag=True, help="Only look: mark no version as damaged or as whole again.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@with_settings
def verify(loaded: "Loaded", no_mark: bool, as_json: bool) -> None:
    """Read every byte that is needed and check it; 1 where anything is missing or damaged.

    It may run beside the server. A version whose files are at fault is marked as damaged, and who serves it goes on;
    one that was marked and is whole again is held.
    """
    from service.stores import open_blobs
    from stream.errors import StreamError
    from stream.verification import verify as verified

    with open_ledger(loaded) as ledger:
        try:
            found = verified(ledger, open_blobs(loaded.settings), mark=not no_mark)
        except StreamError as error:
            click.echo(f"everclass: {error}", err=True)
            sys.exit(Exit.FAILED)
    _show(found, as_json)
    sys.exit(Exit.DONE if found.sound else Exit.FAILED)


def _show(found: "Verified", as_json: bool) -> None:
    if as_json:
        show_json(asdict(found))
        return
    if found.findings:
        rows = [[one.owner, one.fault, one.key] for one in found.findings]
        show_table(["named by", "fault", "blob"], rows)
    for numbers, what in ((found.damaged, "marked as damaged"), (found.healed, "whole again, and held")):
        if numbers:
            click.echo(f"{what}: version {', '.join(map(str, numbers))}")
    click.echo(f"{found.blobs} files, {found.size_bytes / 2**20:.1f} MiB read, {len(found.findings)} at fault")
