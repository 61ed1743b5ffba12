"""`everclass audit`."""

from itertools import islice

import click

from everclass.commands.server import Server, with_server
from everclass.showing import show_json, show_table


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Lines, at most.")
@with_server
def audit(server: Server, limit: int) -> None:
    """List who changed what and who was refused, newest first."""
    found = list(islice(server.client.audit(), limit))
    if server.as_json:
        show_json(found)
        return
    headings = ("seq", "at", "by", "key", "method", "route", "status", "object", "from", "times")
    rows = [(e.seq, e.at, e.name, e.key, e.method, e.route, e.status, e.object, e.remote, e.times) for e in found]
    show_table(headings, rows)
