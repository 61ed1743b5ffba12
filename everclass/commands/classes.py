"""`everclass classes` and `forget`."""

import click

from everclass.commands.server import Server, with_server
from everclass.commands.tasks import show_outcome, show_task, wait
from everclass.showing import show_json, show_table


@click.command()
@with_server
def classes(server: Server) -> None:
    """List the classes that the version in force knows."""
    found = server.client.classes()
    if server.as_json:
        show_json(found)
    else:
        show_table(("class", "since", "images"), [(known.label, known.since, known.images) for known in found])


@click.command()
@click.argument("label")
@click.option(
    "--purge", is_flag=True, help="Also delete every version and stored image that knows the class, for good."
)
@click.option("--yes", is_flag=True, help="Purge without asking.")
@click.option("--detach", is_flag=True, help="Return as soon as the task is queued.")
@with_server
def forget(server: Server, label: str, purge: bool, yes: bool, detach: bool) -> None:
    """Make a version that does not know the class LABEL, and let it serve.

    Waits until the task is done, unless --detach is given.
    """
    if purge and not yes:
        click.confirm(
            f"Delete every version and image that knows {label!r}? This cannot be undone.", abort=True, err=True
        )
    task = server.client.forget(label, purge=purge)
    if detach:
        show_task(server, task)
    else:
        show_outcome(server, wait(server, task.id))
