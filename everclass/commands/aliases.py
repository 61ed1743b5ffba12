"""`everclass aliases`."""

import click

from everclass.commands.listing import ListByDefault
from everclass.commands.server import Server, with_server
from everclass.commands.versions import show_promotion
from everclass.showing import show_json, show_table


@click.group(cls=ListByDefault)
def aliases() -> None:
    """List and remove aliases; `everclass promote VERSION --alias NAME` sets one."""


@aliases.command("list")
@with_server
def list_aliases(server: Server) -> None:
    """List all aliases with the versions that they point at."""
    found = server.client.aliases()
    if server.as_json:
        show_json(dict(found))
    else:
        show_table(("alias", "version"), list(found.items()))


@aliases.command()
@click.argument("alias")
@click.option("--reason", help="Why; stands in the log.")
@click.option("--expected", type=int, help="The version that you believe the alias points at.")
@with_server
def remove(server: Server, alias: str, reason: str | None, expected: int | None) -> None:
    """Remove ALIAS, so that nothing keeps its version; `serving` can only be moved."""
    show_promotion(server, server.client.remove_alias(alias, reason=reason, expected=expected))
