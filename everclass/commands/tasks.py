"""`everclass tasks`."""

import click

from everclass.commands.listing import ListByDefault
from everclass.commands.server import Server, with_server
from everclass.results import Task, TaskState, Version
from everclass.showing import percent, show_json, show_table, task_bar, task_words

STATES = ("open", "queued", "learning", "done", "failed", "cancelled")


@click.group(cls=ListByDefault)
def tasks() -> None:
    """List, show, follow, cancel, retry and purge tasks."""


@tasks.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only tasks in this state.")
@with_server
def list_tasks(server: Server, state: TaskState | None) -> None:
    """List all tasks."""
    found = list(server.client.tasks(state=state))
    if server.as_json:
        show_json(found)
        return
    headings = ("task", "name", "state", "phase", "progress", "images", "classes", "versions", "created")
    show_table(headings, [_row(task) for task in found])


@tasks.command()
@click.argument("task_id")
@with_server
def show(server: Server, task_id: str) -> None:
    """Show one task."""
    show_task(server, server.client.task(task_id))


@tasks.command()
@click.argument("task_id")
@click.option("--timeout-wait", "wait_s", type=float, help="Give up waiting after so many seconds.")
@with_server
def watch(server: Server, task_id: str, wait_s: float | None) -> None:
    """Follow a task until it has ended; fails where it failed or was cancelled."""
    show_outcome(server, wait(server, task_id, wait_s))


@tasks.command()
@click.argument("task_id")
@with_server
def cancel(server: Server, task_id: str) -> None:
    """Cancel a task, while it learns too. Its images are kept for a retry; `everclass tasks purge` deletes them."""
    show_task(server, server.client.cancel(task_id))


@tasks.command()
@click.argument("task_id")
@click.option("--yes", is_flag=True, help="Purge without asking.")
@with_server
def purge(server: Server, task_id: str, yes: bool) -> None:
    """Delete the images that are kept of a task that failed, was cancelled or is held."""
    if not yes:
        click.confirm(f"Delete the images of task {task_id}? This cannot be undone.", abort=True, err=True)
    show_task(server, server.client.cancel(task_id, purge=True))


@tasks.command()
@click.argument("task_id")
@with_server
def retry(server: Server, task_id: str) -> None:
    """Run a failed or cancelled task again."""
    show_task(server, server.client.retry(task_id))


@tasks.command()
@click.argument("task_id")
@with_server
def commit(server: Server, task_id: str) -> None:
    """Close an open task, so that it is learned."""
    show_task(server, server.client.commit(task_id))


def wait(server: Server, task_id: str, timeout_s: float | None = None) -> Task:
    """The task once it is done, with a bar meanwhile; who stops waiting is told that the server goes on with it."""
    try:
        with task_bar() as bar:
            return server.client.wait_for_task(task_id, timeout_s=timeout_s, on_progress=bar)
    except KeyboardInterrupt:
        click.echo(
            f"\neverclass: the server goes on with task {task_id}: `everclass tasks watch {task_id}` waits for it, "
            f"`everclass tasks cancel {task_id}` stops it",
            err=True,
        )
        raise


def show_task(server: Server, task: Task) -> None:
    """A task in a few lines, or as JSON."""
    if server.as_json:
        show_json(task)
        return
    classes = ", ".join(f"{label} ({images})" for label, images in task.labels.items())
    lines = {
        "": task_words(task),
        "name": task.name,
        "note": task.note,
        "reason": task.reason,
        "images": task.images,
        "classes": classes,
        "base": task.base,
        "versions": ", ".join(str(number) for number in task.versions),
        "epochs": "; ".join(f"{e.epoch}: loss {e.loss:.3f}, {percent(e.accuracy)}" for e in task.epochs),
    }
    for name, value in lines.items():
        if value not in (None, ""):
            click.echo(f"{name:<9}{value}" if name else str(value))


def show_outcome(server: Server, task: Task) -> None:
    """A task that is done, and what became of each version that it made: one that is held waits for a person."""
    show_task(server, task)
    if server.as_json:
        return
    versions = [server.client.version(number) for number in task.versions]
    for version in versions:
        click.echo(f"version {version.version}: {version.kind}, {version.state}{_why(version)}")
    servable = [version for version in versions if version.state in ("ready", "held")]
    if servable and servable[-1].state == "held":
        number = servable[-1].version
        click.echo(f"Version {number} does not serve until someone promotes it: everclass promote {number}")


def _why(version: Version) -> str:
    return f" ({version.reason})" if version.reason and version.state != "ready" else ""


def _row(task: Task) -> tuple[object, ...]:
    done = percent(task.progress) if task.state == "learning" else None
    return (
        task.id,
        task.name,
        task.state,
        task.phase,
        done,
        task.images,
        len(task.labels),
        task.versions,
        task.created_at,
    )
