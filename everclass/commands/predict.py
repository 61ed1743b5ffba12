"""`everclass predict`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from everclass.commands.server import Server, with_server
from everclass.errors import TooLarge
from everclass.images import portions
from everclass.results import Prediction
from everclass.showing import percent, show_json, show_table

BATCH_IMAGES = 32
BATCH_BYTES = 32 * 1024 * 1024
"""Half of what a server takes by default (`limits.predict_mb`)."""


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--top-k", type=click.IntRange(1), default=5, show_default=True, help="Candidates to list for each image."
)
@click.option("--version", type=int, help="Ask this version.")
@click.option("--alias", help="Ask the version that this alias points at.")
@with_server
def predict(server: Server, files: tuple[Path, ...], top_k: int, version: int | None, alias: str | None) -> None:
    """Say what the images in FILES show, by the version in force or the one that is named."""
    rows = list(_answers(server, files, top_k, version, alias))
    if server.as_json:
        items = [{"file": str(path), "version": number, **said.model_dump(mode="json")} for path, number, said in rows]
        show_json({"items": items})
    else:
        cells = [
            (path, said.label, percent(said.score), _known(said), _others(said), number) for path, number, said in rows
        ]
        show_table(("file", "label", "score", "known", "or else", "version"), cells)


def _answers(
    server: Server, files: Sequence[Path], top_k: int, version: int | None, alias: str | None
) -> Iterator[tuple[Path, int, Prediction]]:
    """Every file with the version that answered.

    What a server takes in one request is its own setting, which it tells by refusing: from then on half as many go.
    """
    most = BATCH_IMAGES
    left = list(files)
    while left:
        batch = next(portions(left, lambda path: path.stat().st_size, most=most, most_bytes=BATCH_BYTES))
        try:
            answer = server.client.predict(batch, top_k=top_k, version=version, alias=alias)
        except TooLarge as error:
            if error.errors or len(batch) == 1:
                raise
            most = len(batch) // 2
            continue
        for path, prediction in zip(batch, answer.predictions, strict=True):
            yield path, answer.version, prediction
        left = left[len(batch) :]


def _known(said: Prediction) -> str | None:
    return None if said.known is None else "yes" if said.known else "no"


def _others(said: Prediction) -> list[str]:
    return [f"{other.label} {percent(other.score)}" for other in said.top if other.label != said.label]
