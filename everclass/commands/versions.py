"""`everclass versions`, `rollback`, `promote`, `promotions` and `export`."""

from pathlib import Path

import click

from everclass.commands.listing import ListByDefault
from everclass.commands.server import Server, with_server
from everclass.results import Promotion, Version
from everclass.showing import field_rows, moment, percent, show_json, show_table, word


@click.group(cls=ListByDefault)
def versions() -> None:
    """List, show and delete versions."""


@versions.command("list")
@with_server
def list_versions(server: Server) -> None:
    """List all versions; those in force or under another alias carry its name."""
    found = list(server.client.versions())
    if server.as_json:
        show_json(found)
        return
    names = server.client.aliases()
    headings = ("version", "alias", "kind", "state", "parent", "task", "classes", "accuracy", "forgetting", "created")
    show_table(headings, [_row(version, names) for version in found])


@versions.command()
@click.argument("number", type=int)
@with_server
def show(server: Server, number: int) -> None:
    """Show one version, with its classes and the gate's figures."""
    version = server.client.version(number)
    if server.as_json:
        show_json(version)
        return
    told = version.model_dump(exclude={"classes", "accuracy_per_task"})
    show_table(("field", "value"), [row for name, value in told.items() for row in field_rows(name, value)])
    show_table(("class", "since", "images"), [(known.label, known.since, known.images) for known in version.classes])


@versions.command()
@click.argument("number", type=int)
@with_server
def delete(server: Server, number: int) -> None:
    """Delete a version that nothing needs any more."""
    server.client.delete_version(number)
    if server.as_json:
        show_json(server.client.version(number))
    else:
        click.echo(f"version {number} is deleted")


@click.command()
@click.argument("version", type=int, required=False)
@click.option("--task", help="Go back to the version that this task started from.")
@click.option("--reason", help="Why; stands in the log.")
@click.option("--expected", type=int, help="The version that you believe in force; refused where it is another.")
@with_server
def rollback(server: Server, version: int | None, task: str | None, reason: str | None, expected: int | None) -> None:
    """Let VERSION serve again; without it, the parent of the version in force. Learning goes on from there."""
    if version is not None and task is not None:
        raise click.UsageError("give a version or --task, not both")
    show_promotion(server, server.client.rollback(version=version, task=task, reason=reason, expected=expected))


@click.command()
@click.argument("version", type=int)
@click.option("--alias", default="serving", show_default=True, help="The alias to move.")
@click.option("--reason", help="Why; stands in the log.")
@click.option("--expected", type=int, help="The version that you believe the alias points at.")
@with_server
def promote(server: Server, version: int, alias: str, reason: str | None, expected: int | None) -> None:
    """Point an alias at VERSION: by default, let it serve."""
    show_promotion(server, server.client.promote(version, alias=alias, reason=reason, expected=expected))


@click.command()
@click.option("--at", help="Only what served at this time (RFC 3339, as the list shows it).")
@with_server
def promotions(server: Server, at: str | None) -> None:
    """List the log of what served when, by whom and why."""
    found = list(server.client.promotions(at=at))
    if server.as_json:
        show_json(found)
        return
    rows = [(p.seq, p.alias, p.version, p.previous, moment(p.at), p.by, p.reason, p.won, p.lost) for p in found]
    show_table(("seq", "alias", "version", "before", "at", "by", "reason", "won", "lost"), rows)


@click.command()
@click.argument("version", type=int)
@click.option("--format", "kind", type=click.Choice(["onnx", "safetensors"]), default="onnx", show_default=True)
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="File to write. [default: by version]")
@with_server
def export(server: Server, version: int, kind: str, to: Path | None) -> None:
    """Write VERSION as one archive that runs without Everclass."""
    target = to or Path(f"everclass-version-{version}-{kind}.zip")
    path = server.client.export(version, target, format=kind)
    if server.as_json:
        show_json({"file": str(path), "size_bytes": path.stat().st_size})
    else:
        click.echo(path)


def show_promotion(server: Server, promotion: Promotion) -> None:
    """A move of an alias in a few lines, or as JSON."""
    if server.as_json:
        show_json(promotion)
        return
    click.echo(f"{promotion.alias}: version {word(promotion.previous)} → {word(promotion.version)}")
    for name, labels in (("won", promotion.won), ("lost", promotion.lost)):
        if labels:
            click.echo(f"{name:<6}{', '.join(labels)}")


def _row(version: Version, names: dict[str, int]) -> tuple[object, ...]:
    return (
        version.version,
        [name for name, number in names.items() if number == version.version],
        version.kind,
        version.state,
        version.parent,
        version.task,
        len(version.classes),
        percent(version.accuracy),
        percent(version.forgetting),
        version.created_at,
    )
