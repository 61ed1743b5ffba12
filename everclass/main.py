"""The command `everclass`."""

import os

import click

from everclass.commands.aliases import aliases
from everclass.commands.audit import audit
from everclass.commands.backup import backup, restore
from everclass.commands.bench import bench
from everclass.commands.classes import classes, forget
from everclass.commands.importing import import_archive
from everclass.commands.keys import keys
from everclass.commands.learn import learn
from everclass.commands.predict import predict
from everclass.commands.running import config, learner, serve
from everclass.commands.tasks import tasks
from everclass.commands.verify import verify
from everclass.commands.versions import export, promote, promotions, rollback, versions
from everclass.exits import MEANINGS

EXIT_CODES = "\b\nExit codes:\n" + "\n".join(f"  {int(code)}  {meaning}" for code, meaning in MEANINGS.items())


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="everclass")
def cli() -> None:
    """A model server that keeps learning new image classes and never stops serving."""
    # Whoever has an account here may not read clients' images, weights or digests of keys.
    os.umask(0o077)


for command in (
    serve,
    learner,
    learn,
    predict,
    tasks,
    versions,
    classes,
    forget,
    rollback,
    promote,
    aliases,
    promotions,
    export,
    import_archive,
    audit,
    keys,
    config,
    bench,
    verify,
    backup,
    restore,
):
    cli.add_command(command)


def main() -> None:
    """Run the command that the arguments name."""
    cli(prog_name="everclass")


if __name__ == "__main__":
    main()
