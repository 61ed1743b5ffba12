"""`everclass learn`."""

import re
from pathlib import Path
from typing import Literal

import click

from everclass.commands.server import Server, with_server
from everclass.commands.tasks import show_outcome, show_task, wait
from everclass.lessons import Wishes
from everclass.results import Task
from everclass.showing import upload_bar

VERSION = re.compile(r"[0-9]{1,18}")


def base_number(_context: click.Context, _option: click.Parameter, value: str | None) -> int | Literal["none"] | None:
    """A version's number, `none`, or nothing."""
    if value is None:
        return None
    if value == "none":
        return "none"
    if not VERSION.fullmatch(value):
        raise click.BadParameter("a version's number or none")
    return int(value)


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="What to call the task.")
@click.option("--note", help="A note that stays with the task.")
@click.option("--base", callback=base_number, help="Version to learn on from, or none for a new root.")
@click.option("--promote", type=click.Choice(["auto", "manual"]), help="manual holds what the task makes.")
@click.option("--task", help="Append to this open task.")
@click.option("--no-commit", is_flag=True, help="Leave the task open for more batches.")
@click.option("--detach", is_flag=True, help="Return as soon as the images are safe on the server.")
@with_server
def learn(
    server: Server,
    source: Path,
    name: str | None,
    note: str | None,
    base: int | Literal["none"] | None,
    promote: Literal["auto", "manual"] | None,
    task: str | None,
    no_commit: bool,
    detach: bool,
) -> None:
    """Learn from SOURCE: a folder with one folder a class, a zip or tar archive of one, or a Parquet file.

    The folder that an image lies in names its class, whatever lies above it; where two have one name (train/cat and
    val/cat), nothing is learned. A Parquet file's columns are image and label, or label_name; others, such as split,
    mean nothing.

    Waits until the task is done, unless --detach or --no-commit is given, and says what became of its versions: one
    that is held does not serve until someone promotes it.
    """
    wishes: Wishes = {
        "name": name,
        "note": note,
        "base": base,
        "promote": promote,
        "task": task,
        "commit": not no_commit,
    }
    accepted = _send(server, source, wishes)
    if detach or no_commit:
        show_task(server, accepted)
    else:
        show_outcome(server, wait(server, accepted.id))


def _send(server: Server, source: Path, wishes: Wishes) -> Task:
    with upload_bar(source.name) as on_sent:
        return server.client.learn(source, on_sent=on_sent, **wishes)
