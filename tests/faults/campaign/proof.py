"""What the clients' record proves, or does not, about the data folder that the server left."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from model.pixels.images import decode
from model.served import SERVED_PARTS, open_served
from stream.blobs import FolderBlobs
from stream.ledger import Ledger
from stream.manifest import load_manifest, load_parts
from tests.faults.campaign.clients import PICTURES
from tests.faults.campaign.record import Record
from tests.faults.invariants import broken, every, opened

TOLERANCE = 1e-4
MAX_PIXELS = 1_000_000


def disproved(folder: Path, record: Record) -> list[str]:
    """Every promise that the record shows to be broken."""
    with opened(folder) as (ledger, blobs):
        return [
            *record.wrong,
            *broken(folder, record.accepted, record.promoted),
            *_sent_once(ledger),
            *_in_force(ledger, record),
            *_own_answers(ledger, blobs, record),
        ]


def states(folder: Path, record: Record) -> Counter[str]:
    """How many of the tasks that got a 202 are in which state."""
    with opened(folder) as (ledger, _):
        return Counter(str(ledger.task(task).state) for task in record.accepted)


def _sent_once(ledger: Ledger) -> Iterator[str]:
    """A task that was sent again under its key is one task."""
    names = Counter(task.name for task in every(ledger.tasks) if task.name is not None)
    yield from (f"{count} tasks were made of one request" for count in names.values() if count > 1)


def _in_force(ledger: Ledger, record: Record) -> Iterator[str]:
    """Every answer came under a promotion of its version, made by then, and none older than one acknowledged before."""
    log = {move.seq: move for move in every(ledger.promotions)}
    for answer in record.answers:
        move = log.get(answer.seq)
        if move is None or move.version != answer.version:
            yield f"version {answer.version} answered under promotion {answer.seq}, which is not its own"
        elif move.at > datetime.fromtimestamp(answer.received_s, UTC):
            yield f"version {answer.version} answered before promotion {answer.seq}"
        if answer.seq < answer.floor:
            yield f"promotion {answer.seq} answered after promotion {answer.floor} had been acknowledged"


def _own_answers(ledger: Ledger, blobs: FolderBlobs, record: Record) -> Iterator[str]:
    """Every answer is what the named version says where it is asked alone."""
    for version in sorted({version for version, _ in record.scores}):
        manifest = load_manifest(blobs, ledger.version(version).digest)
        served = open_served(
            load_parts(blobs, manifest, SERVED_PARTS), manifest.description, kind="onnxruntime", threads=1
        )
        pixels = [served.view(decode(picture, max_pixels=MAX_PIXELS)) for picture in PICTURES]
        for picture, prediction in enumerate(served.predict(np.stack(pixels), 100)):
            right = {one.label: one.score for one in prediction.top}
            for scores in record.scores.get((version, picture), ()):
                if not _same(dict(scores), right):
                    yield f"an answer of version {version} to picture {picture} is not its own: {scores} for {right}"
        served.close()


def _same(scores: dict[str, float], right: dict[str, float]) -> bool:
    return set(scores) == set(right) and all(abs(scores[label] - right[label]) <= TOLERANCE for label in right)
