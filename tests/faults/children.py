"""Short lives that a test starts again and again: forked from a process that has everything imported and did nothing.

`live` runs a whole life on a data folder: a batch is sent, learned, served, and rolled back from; what was acknowledged
goes into a diary as it happens, so that a killed one has left its record.
"""

import multiprocessing
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from starlette.testclient import TestClient

from service.app import make_app
from service.learner import process
from service.settings import Settings
from stream import failpoints
from stream.ledger import Ledger
from stream.ledger.database import utc_now
from tests.digits import labelled, pngs
from tests.faults.diary import Diary
from tests.service.learner.world import World
from tests.service.pictures import files

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.faults.children"])

IMAGES = labelled(6, 7, count=20)
SETTINGS = {"learn__epochs": 3, "learn__min_steps": 6}
LATER = timedelta(seconds=30)
"""A life after a death begins so much later: no lease of the dead has to be waited for."""


def world_of(folder: Path, *, later: timedelta = timedelta(0), moves: str = "always") -> World:
    """A world on the folder, its clock `later` than ours; `moves` says when the backbone does."""
    world = World.new(folder.parent, None, data_dir=folder, learn__move_backbone=moves, **SETTINGS)
    world.ledger.close()
    world.ledger = Ledger.open(world.settings.database, clock=_clock(later))
    world.intake.ledger = world.ledger
    return world


def live(folder: Path, orders: str, *, first: bool = True) -> int:
    """A whole life in a process of its own; its exit status. The first one sends the batch, later ones go on."""
    return run(_live, folder, orders, first)


def learn(folder: Path, orders: str, *, first: bool = True, moves: str = "always") -> int:
    """As `live`, without serving; `moves` says when the backbone does."""
    return run(_learn, folder, orders, first, moves)


def learn_until_stopped(folder: Path, orders: str) -> int:
    """The learner's own process on what waits, until it is asked to stop; its exit status."""
    return run(_until_stopped, folder, orders)


def run(act: Callable[..., None], *args: object) -> int:
    """Run `act` in a fresh process; its exit status, which is minus the signal where one ended it."""
    child = FORKS.Process(target=act, args=args)
    child.start()
    child.join(120)
    assert child.exitcode is not None, "the child does not end"
    return child.exitcode


def diary_of(folder: Path) -> Diary:
    """The diary of all lives on this folder."""
    return Diary(folder.parent / "diary.jsonl")


def _clock(later: timedelta) -> Callable[[], datetime]:
    return lambda: utc_now() + later


def _live(folder: Path, orders: str, first: bool) -> None:
    diary = diary_of(folder)
    armed = failpoints.arm(orders)
    world = world_of(folder, later=timedelta(0) if first else LATER)
    if first:
        diary.note("accepted", world.send(IMAGES).id)
    world.learn_all()
    _serve(world.settings, diary)
    world.close()
    diary.note("reached", armed.reached)


def _learn(folder: Path, orders: str, first: bool, moves: str) -> None:
    failpoints.arm(orders)
    world = world_of(folder, later=timedelta(0) if first else LATER, moves=moves)
    if first:
        diary_of(folder).note("accepted", world.send(IMAGES).id)
    world.learn_all()
    world.close()


def _until_stopped(folder: Path, orders: str) -> None:
    world = world_of(folder)
    diary_of(folder).note("accepted", world.send(IMAGES).id)
    world.close()
    armed = failpoints.arm(orders)
    status = process.run(world.settings)
    diary_of(folder).note("reached", armed.reached)
    sys.exit(status)


def _serve(settings: Settings, diary: Diary) -> None:
    service = make_app(settings)
    with TestClient(service.asgi, base_url="http://localhost") as client:
        for body in ({"version": 4}, {"version": 6}):
            reply = client.post("/rollback", json=body)
            assert reply.status_code == 200, reply.text
            diary.note("promoted", {key: reply.json()[key] for key in ("seq", "version", "previous")})
            answer = client.post("/predict", files=files(pngs(0)[0]))
            assert answer.json()["version"] == body["version"]
