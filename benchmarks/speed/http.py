"""`python -m benchmarks.speed.http`: a real server, side by side with the bare session of the same runtime.

Writes benchmarks/results/speed.json and speed.md.
"""

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.speed.figures import Figure, write
from benchmarks.speed.memory import peak_mb, resident_mb
from benchmarks.speed.photographs import photographs
from benchmarks.speed.traffic import Answered, Body, Clients, Outcome
from everclass.client import Client
from everclass.demo.server import DemoServer
from everclass.results import Task
from model.pixels.images import decode
from model.pixels.preprocess import evaluation_view
from model.served import ServedModel
from service.predicting.loading import Loader
from service.setting_groups import ServeSettings
from stream.blobs import open_blobs
from stream.ledger import Ledger

CLASSES, IMAGES = 10, 50
BATCH = 32
SWAP_WINDOW_S = 1.0
LONGEST_S = 300.0
SETTINGS: dict[str, object] = {
    "gate.enabled": False,
    "learn.epochs": 1,
    "learn.min_steps": 8,
}
"""Speed is measured here, not accuracy: a task takes few steps, since neither a step nor what runs beside it depends on
how many there are, and the gate, whose checks cost nothing beside the features that they need, holds no version for it.
"""


class Bench:
    """The measurements, one method each; every one returns its figures."""

    def __init__(self, server: DemoServer, client: Client, rounds: int, seconds: float) -> None:
        self._server, self._client = server, client
        self._rounds, self._seconds = rounds, seconds
        self._known = photographs(range(CLASSES), IMAGES)
        self._bytes = [image.image for image in self._known if isinstance(image.image, bytes)]

    def first_lesson(self) -> None:
        """So that there is a version to ask."""
        task = self._client.learn_images(self._known)
        self._client.wait_for_task(task.id)

    def memory_at_rest(self) -> list[Figure]:
        """Before any load, with a version in force."""
        time.sleep(2)
        return _memory("at rest", resident_mb(self._server.pid))

    def throughput(self) -> list[Figure]:
        """Bare session, one image a request, BATCH images a request: in turn, `rounds` times."""
        bare, single, several = self._bare(), self._clients(1, 16), self._clients(BATCH, 4)
        measured: dict[str, list[float]] = {"bare": [], "single": [], "several": []}
        for _ in range(self._rounds):
            measured["bare"].append(bare(self._seconds))
            measured["single"].append(_unfailing(single.run_for(self._seconds)).images_per_s)
            measured["several"].append(_unfailing(several.run_for(self._seconds)).images_per_s)
        ratios = {
            way: tuple(mine / its for mine, its in zip(measured[way], measured["bare"], strict=True))
            for way in ("single", "several")
        }
        return [
            Figure("bare session on decoded arrays", "images/s", tuple(measured["bare"])),
            Figure("HTTP, one image a request, 16 clients", "images/s", tuple(measured["single"])),
            Figure(f"HTTP, {BATCH} images a request, 4 clients", "images/s", tuple(measured["several"])),
            Figure("HTTP against bare, one image a request", "×", ratios["single"], "≥ 0.8"),
            Figure(f"HTTP against bare, {BATCH} images a request", "×", ratios["several"], "≥ 0.8"),
        ]

    def provisional(self) -> list[Figure]:
        """Commit of 500 images of new classes to their version in force, learner idle; each task is then cancelled."""
        seconds = [self._until_provisional(round_) for round_ in range(1, self._rounds + 1)]
        return [Figure("500 images committed → provisional version in force", "s", tuple(seconds), "≤ 10 s")]

    def while_learning(self, rate: float) -> list[Figure]:
        """Latency at a steady `rate` (images/s), idle and then while a task of 500 images is learned to its end."""
        clients = Clients(self._server.url, self._bodies(1), 4, interval_s=4 / rate)
        idle = _unfailing(clients.run_for(6 * self._seconds))
        learning = _Learning(self._client, photographs(range(30, 30 + CLASSES), IMAGES))
        with peak_mb(self._server.pid) as peak:
            busy = _unfailing(clients.run(learning.has_ended))
        swaps = [answer for answer in busy.answers if learning.near_swap(answer.at_s)]
        return [
            Figure("steady load", "images/s", (rate,)),
            _percentile("p50, idle", idle.answers, 50),
            _percentile("p99, idle", idle.answers, 99),
            _percentile("p50, while learning", busy.answers, 50),
            _percentile("p99, while learning", busy.answers, 99, "≤ 1.5 × idle"),
            _percentile(f"p99, within {SWAP_WINDOW_S:g} s of a swap", swaps, 99, "≤ 2 × idle"),
            Figure("answers while learning", "", (float(len(busy.answers)),)),
            Figure("trained weights → serving", "s", (learning.publishing_s,), "< 1 s"),
            *_memory("at work", peak),
        ]

    def _clients(self, images: int, clients: int) -> Clients:
        return Clients(self._server.url, self._bodies(images), clients)

    def _bodies(self, images: int) -> list[Body]:
        starts = range(0, len(self._bytes) - images + 1, images)
        return [Body.of(self._bytes[start : start + images]) for start in starts]

    def _bare(self) -> Callable[[float], float]:
        """Images a second of the runtime that serves, on views decoded beforehand, in batches of BATCH."""
        model, views = self._served_model()
        model.runtime.features(views)

        def run(seconds: float) -> float:
            started, images = time.monotonic(), 0
            while time.monotonic() < started + seconds:
                model.runtime.features(views)
                images += len(views)
            return images / (time.monotonic() - started)

        return run

    def _served_model(self) -> tuple[ServedModel, np.ndarray[Any, np.dtype[np.uint8]]]:
        folder = self._server.data_dir
        ledger = Ledger.open(f"sqlite:///{folder.absolute() / 'everclass.db'}")
        serving = ledger.serving()
        assert serving is not None
        loader = Loader(ledger, open_blobs(str(folder / "blobs"), folder / "cache" / "blobs"), ServeSettings())
        loaded = loader.load(serving.digest)
        views = [evaluation_view(decode(data, max_pixels=10**7), loaded.model.spec) for data in self._bytes[:BATCH]]
        return loaded.model, np.stack(views)

    def _until_provisional(self, round_: int) -> float:
        first = CLASSES * (1 + round_ % 2)
        before = self._client.aliases()["serving"]
        task = self._client.learn_images(photographs(range(first, first + CLASSES), IMAGES, seed=round_))
        started = time.monotonic()
        while self._client.aliases()["serving"] == before:
            if time.monotonic() - started > LONGEST_S:
                raise SystemExit(f"no version of task {task.id} took over in {LONGEST_S:g} s")
            time.sleep(0.02)
        took = time.monotonic() - started
        self._client.cancel(task.id)
        while (learner := self._client.readiness().learner) is not None and learner.task is not None:
            time.sleep(0.1)
        return took


class _Learning:
    """A task that is learned beside a load: watched from a thread of the load, at most ten times a second."""

    def __init__(self, client: Client, images: Sequence[Any]) -> None:
        self._client = client
        self._task: Task = client.learn_images(images)
        self._looked = 0.0
        self._serving = client.aliases()["serving"]
        self._swaps: list[float] = []
        self._publishing: float | None = None
        self.publishing_s = float("nan")

    def has_ended(self) -> bool:
        """Whether it is done; notes swaps and phases by the way."""
        now = time.monotonic()
        if now - self._looked > 0.1:
            self._looked = now
            self._look(now)
        return self._task.ended

    def near_swap(self, at_s: float) -> bool:
        """Whether a swap was within SWAP_WINDOW_S of that time."""
        return any(abs(at_s - swap) <= SWAP_WINDOW_S for swap in self._swaps)

    def _look(self, now: float) -> None:
        self._task = self._client.task(self._task.id)
        serving = self._client.aliases()["serving"]
        if self._task.phase == "publishing" and self._publishing is None and self._swaps:
            self._publishing = now
        if serving != self._serving:
            self._serving = serving
            self._swaps.append(now)
            if self._publishing is not None:
                self.publishing_s = now - self._publishing


def _percentile(name: str, answers: Sequence[Answered], rank: int, aim: str = "") -> Figure:
    latencies_ms = [1000 * answer.latency_s for answer in answers] or [float("nan")]
    return Figure(name, "ms", (float(np.percentile(latencies_ms, rank)),), aim)


def _memory(when: str, held_mb: dict[str, float]) -> list[Figure]:
    return [Figure(f"memory of the {role}, {when}", "MB", (held,)) for role, held in held_mb.items()]


def _unfailing(outcome: Outcome) -> Outcome:
    if outcome.failures:
        raise SystemExit(f"{len(outcome.failures)} requests failed, so the figures mean nothing: {outcome.failures[0]}")
    return outcome


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Repetitions of what is repeated.")
@click.option("--seconds", default=6.0, show_default=True, help="Length of one round of load.")
@click.option("--rate", default=8.0, show_default=True, help="Images a second of the steady load.")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Any setting of the server.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/speed"), show_default=True)
def main(rounds: int, seconds: float, rate: float, pairs: tuple[str, ...], out: Path) -> None:
    """Measure a server with the default backbone on this machine."""
    settings = SETTINGS | {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
    command = shlex.join(["python", "-m", "benchmarks.speed.http", *sys.argv[1:]])
    with DemoServer(None, None, settings) as server, Client(server.url) as client:
        bench = Bench(server, client, rounds, seconds)
        bench.first_lesson()
        figures: list[Figure] = []
        steps = (bench.memory_at_rest, bench.throughput, bench.provisional, lambda: bench.while_learning(rate))
        for step in steps:
            figures += step()
            click.echo(f"{len(figures)} figures, the last: {figures[-1].row}", err=True)
        click.echo(write(figures, client.readiness().model_dump()["runtime"], command, out))


if __name__ == "__main__":
    main()
