"""A ledger, blobs and a learner in this process, without HTTP: what the learner does, seen from its own side."""

import shutil
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model.backbones.export import graph_key
from service.learner.bases import root_spec
from service.learner.process import LearnerProcess
from service.settings import Settings, load_settings
from stream.blobs import Blobs, open_blobs
from stream.intake import Intake
from stream.ledger import Ledger
from stream.retention import sweep
from stream.tasks import NewTask, Promote, RequestedBase, Task
from stream.versions import Version
from tests import tiny_weights

LONGEST_S = 120


@dataclass
class World:
    """One data folder; tasks are put in here and learned by `learn_all`."""

    settings: Settings
    ledger: Ledger
    blobs: Blobs
    intake: Intake

    @classmethod
    def new(cls, folder: Path, seed: Path | None = None, **flags: object) -> "World":
        """A world on the tiny ViT, its gate off and its backbone moved by every task unless a flag says otherwise.

        `seed` is a data folder to begin with.
        """
        given = {
            "data_dir": folder / "data",
            "backbone": "test_vit",
            "weights": tiny_weights.make("test_vit", folder),
            "image_size": 32,
            "learn.epochs": 2,
            "learn.min_steps": 4,
            "learn.move_backbone": "always",
            "learn.precision": "fp32",
            "learn.threads": 1,
            "gate.enabled": False,
            "serve.runtime": "onnxruntime",
            **{name.replace("__", "."): value for name, value in flags.items()},
        }
        settings = load_settings(given).settings
        if seed is not None:
            shutil.copytree(seed, settings.root)
        settings.root.mkdir(parents=True, exist_ok=True)
        ledger = Ledger.open(settings.database)
        blobs = open_blobs(settings.blobs, settings.cache / "blobs")
        return cls(settings, ledger, blobs, Intake(ledger, blobs, settings.incoming))

    def send(
        self, images: list[tuple[bytes, str]], *, base: RequestedBase = None, promote: Promote | None = None
    ) -> Task:
        """One committed task of these images."""
        with self.intake.staging() as staging:
            for number, (data, label) in enumerate(images):
                staging.add(f"images[{number}]", label, None, data)
            new = NewTask(staging.task_id, "test", requested_base=base, promote=promote)
            return staging.accept(new_task=new)

    def get_ready(self) -> None:
        """Run a learner until it has exported the graph that a first task needs."""
        self.run_until(lambda: self.ledger.graph(graph_key(root_spec(self.settings))) is not None)

    def learn_all(self) -> None:
        """Run a learner until no task is queued or being learned; then sweep, which its end may have cut short."""
        self.run_until(lambda: not self.unfinished())
        lease = self.ledger.acquire_lease("learner", "world", socket.gethostname(), 60)
        assert lease is not None
        sweep(self.ledger, self.blobs, lease, self.settings.retention.policy())
        self.ledger.release_lease(lease)

    def run_until(self, done: Callable[[], bool]) -> None:
        """Run a learner until it is done, and stop it."""
        stop = threading.Event()
        learner = LearnerProcess(self.settings, self.ledger, stop)
        thread = threading.Thread(target=learner.run)
        thread.start()
        waiting = threading.Event()
        for _ in range(LONGEST_S * 20):
            if done() or not thread.is_alive():
                break
            waiting.wait(0.05)
        stop.set()
        thread.join()
        assert done()

    def learn(self, images: list[tuple[bytes, str]], **options: object) -> tuple[Task, list[Version]]:
        """Send a task, learn it, and answer it with the versions that it made."""
        task = self.send(images, **options)
        self.learn_all()
        task = self.ledger.task(task.id)
        return task, [self.ledger.version(number) for number in task.versions]

    def unfinished(self) -> list[Task]:
        """Tasks that are queued or being learned."""
        return [task for task in self.ledger.tasks().items if not task.state.finished]

    def close(self) -> None:
        """Let go of everything."""
        self.intake.close()
        self.ledger.close()
