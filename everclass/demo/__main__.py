"""`python -m everclass.demo`, which `scripts/demo` runs."""

import signal
import sys
import time
from pathlib import Path

import click

from everclass.client import Client
from everclass.demo.pictures import digits, folder, lessons
from everclass.demo.predictor import Predictor
from everclass.demo.server import DemoServer
from everclass.demo.story import Story
from everclass.exits import errors_as_exit_codes

DIGIT_SETTINGS: dict[str, object] = {
    "image_size": 64,
    "learn.epochs": 8,
    "learn.min_steps": 32,
    "learn.precision": "fp32",
    "learn.threads": 1,
}
"""Digits have 8 × 8 pixels and are easily told apart: a small input and few steps make the demonstration quick.

At this size the operators are so short that bf16 costs more than it saves on a CPU, and that threads of the learner
spend their time waiting for each other while predictions take the cores.
"""


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="One folder a class.")
@click.option("--tasks", type=click.IntRange(2), default=5, show_default=True, help="Tasks to split the classes into.")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Server's folder. [a temporary one]")
@click.option("--port", type=int, help="Port of the server. [a free one]")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Any setting of the server.")
@click.option("--exit", "stop", is_flag=True, help="Stop the server at the end.")
def demo(
    data: Path | None, tasks: int, data_dir: Path | None, port: int | None, pairs: tuple[str, ...], stop: bool
) -> None:
    """Start a server, let it learn the images task by task while it answers, roll back, learn on from there.

    By default the images are the 1,797 handwritten digits of scikit-learn, five tasks of two classes.
    """
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    with errors_as_exit_codes():
        plan = lessons(folder(data) if data else digits(), tasks)
        settings = ({} if data else DIGIT_SETTINGS) | dict(pair.split("=", 1) for pair in pairs)
        with DemoServer(data_dir, port, settings) as server:
            click.echo(f"server at {server.url}, data and log in {server.data_dir}")
            with Client(server.url) as client, Predictor(server.url) as predictor:
                Story(client, predictor, plan).tell()
                answered = predictor.answered
            click.echo(f"\n{answered} predictions answered, none failed; {time.monotonic() - started:.0f} s in all")
            if not stop:
                _stay(server)


def _stay(server: DemoServer) -> None:
    click.echo(
        f"the server stays up at {server.url} until Ctrl-C, for a browser too; "
        f"what to try: everclass versions --url {server.url}"
    )
    try:
        server.wait()
    except KeyboardInterrupt:
        click.echo("stopping")


if __name__ == "__main__":
    demo(prog_name="demo")
