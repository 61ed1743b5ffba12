"""The stage behind a real server: clients speak HTTP to it, a learner works beside it on the same folder.

The versions that the learner publishes are those of a taught folder under other names, so that the server can serve
them, and what each must answer is known before.
"""

import secrets
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from model.pixels.images import decode
from model.served import open_served
from stream.blobs import FolderBlobs
from stream.errors import Conflict
from stream.ledger.database import utc_now
from stream.manifest import Manifest, load_manifest, load_parts, store_version
from stream.tasks import Promote, RequestedBase, Task
from stream.versions import Expected, VersionClass, VersionDraft, VersionKind
from tests import digits
from tests.faults.machine.stage import MORE, Stage
from tests.http.server import RunningServer
from tests.service.pictures import files
from tests.stream.conftest import Clock
from tests.taught import Taught

PICTURE = digits.pngs(3)[15]
TAUGHT = {"first": 6, "second": 4, "zombie": 2}
"""Which taught version stands behind which content."""
MAX_PIXELS = 1_000_000
RESOURCE = ("id", "seq", "version")
"""What a task, a promotion or a version is known by."""

Json = dict[str, Any]


class Ahead(Clock):
    """The real time, put forward for who holds this clock."""

    def __init__(self) -> None:
        self.by = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.by

    def forward(self, **span: float) -> None:
        self.by += timedelta(**span)


@dataclass(frozen=True)
class Body:
    """What a taught version consists of; `scores` is what it says of the picture."""

    manifest: Manifest
    parts: dict[str, bytes]
    scores: dict[str, float]


@dataclass(frozen=True)
class Write:
    """A request that changes something, with the key that it may be sent again under."""

    method: str
    path: str
    content: Json
    key: str = field(default_factory=partial(secrets.token_hex, 8))


@dataclass(kw_only=True)
class ServerStage(Stage):
    """One server and its data folder.

    `acknowledged` is the last write that succeeded, and its answer; `writes` counts writes by method, first word of the
    path, and status.
    """

    server: RunningServer
    bodies: dict[str, Body]
    acknowledged: tuple[Write, Json] | None = None
    writes: Counter[tuple[str, str, int]] = field(default_factory=Counter)

    def send(self, pictures: Sequence[int], *, base: RequestedBase, promote: Promote | None, commit: bool) -> Task:
        wish = {"base": base, "promote": promote, "commit": str(commit).lower()}
        images = [digits.pngs(digit)[place] for place, digit in enumerate(pictures)]
        sent = self._learn({name: value for name, value in wish.items() if value is not None}, pictures, images)
        return self.ledger.task(sent["id"])

    def append(self, task_id: str, digit: int) -> None:
        self._learn({"task": task_id, "commit": "false"}, [digit], [digits.pngs(digit)[MORE]])

    def commit(self, task_id: str) -> None:
        self._write("POST", f"/tasks/{task_id}/commit")

    def cancel(self, task_id: str) -> None:
        self._write("DELETE", f"/tasks/{task_id}")

    def retry(self, task_id: str) -> None:
        self._write("POST", f"/tasks/{task_id}/retry")

    def purge(self, task_id: str) -> None:
        self._write("DELETE", f"/tasks/{task_id}")

    def promote(self, alias: str, version: int, expected: Expected | None = None) -> None:
        belief = {} if expected is None else {"expected": {"seq": expected.seq}}
        self._write("PUT", f"/aliases/{alias}", json={"version": version, **belief})

    def roll_back(self, *, version: int | None = None, task: str | None = None) -> None:
        wish = {"version": version, "task": task}
        self._write("POST", "/rollback", json={name: value for name, value in wish.items() if value is not None})

    def delete(self, version: int) -> None:
        self._write("DELETE", f"/versions/{version}")

    def stored(self, task: Task, kind: VersionKind, content: str) -> VersionDraft:
        """The files of a taught version, as a version that this task made."""
        body = self.bodies[content]
        classes = tuple(VersionClass(one.label, task.id, one.images) for one in body.manifest.classes)
        own = {"kind": kind, "task": task.id, "lineage": (task.id,), "classes": classes}
        manifest = body.manifest.model_copy(update=own)
        store_version(self.blobs, manifest, body.parts)
        named = tuple(part.sha256 for part in manifest.parts.values())
        return VersionDraft(kind, manifest.digest, manifest.size_bytes, named, classes)

    def read(self, path: str) -> Json:
        """What the server says at this path."""
        reply = self.server.client.get(path)
        assert reply.status_code == 200, reply.text
        found: Json = reply.json()
        return found

    def ask(self, query: str = "") -> httpx.Response:
        """The answer to the picture."""
        return self.server.client.post(f"/predict?top_k=100{query}", files=files(PICTURE))

    def die_and_come_back(self, *, gently: bool) -> None:
        """The service's processes end and start; what was acknowledged is still so when it is asked for again."""
        _ = self.server.stop() if gently else self.server.kill()
        self.server.start()
        if self.acknowledged is not None:
            write, answer = self.acknowledged
            again = self._ask(write)
            assert again.is_success, again.text
            assert _resource(again.json()) == _resource(answer)

    def leave(self) -> None:
        """The server ends for good."""
        self.close()
        if self.server.process is not None:
            self.server.stop()
        self.server.client.close()

    def _learn(self, query: Json, labels: Sequence[int], images: Sequence[bytes]) -> Json:
        form = {"labels": list(map(str, labels))}
        return self._write("POST", "/learn", params=query, data=form, files=files(*images))

    def _write(self, method: str, path: str, **content: object) -> Json:
        """Sent twice under one key: the second changes nothing and is answered as the first. Raises Conflict."""
        write = Write(method, path, content)
        first, again = self._ask(write), self._ask(write)
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        self.writes[method, path.split("/")[1], first.status_code] += 1
        answer: Json = first.json()
        if first.status_code == 409:
            raise Conflict(answer["detail"])
        assert first.is_success, first.text
        self.acknowledged = write, answer
        return answer

    def _ask(self, write: Write) -> httpx.Response:
        headers = {"Idempotency-Key": write.key}
        return self.server.client.request(write.method, write.path, headers=headers, **write.content)


def bodies_of(taught: Taught) -> dict[str, Body]:
    """The taught versions by the content that each stands behind."""
    blobs = FolderBlobs(taught.folder / "blobs")
    return {content: _body(blobs, taught.versions[number].digest) for content, number in TAUGHT.items()}


def _body(blobs: FolderBlobs, digest: str) -> Body:
    manifest = load_manifest(blobs, digest)
    parts = load_parts(blobs, manifest, manifest.parts)
    with open_served(parts, manifest.description, kind="onnxruntime", threads=1) as served:
        pixels_BHWC = np.stack([served.view(decode(PICTURE, max_pixels=MAX_PIXELS))])
        prediction = served.predict(pixels_BHWC, 100)[0]
    return Body(manifest, parts, {one.label: one.score for one in prediction.top})


def open_stage(folder: Path, bodies: dict[str, Body], database: str | None = None) -> ServerStage:
    """A server on a new data folder, live; it has no learner but the one that the stage plays."""
    url = database or f"sqlite:///{folder / 'everclass.db'}"
    settings = {"serve.runtime": "onnxruntime", "serve.threads": 1, "limits.queue_tasks": 10_000, "database_url": url}
    server = RunningServer(folder, settings=settings).start()
    return ServerStage(
        url=url,
        folder=folder,
        clock=Ahead(),
        host=socket.gethostname(),
        server=server,
        bodies=bodies,
    )


def _resource(answer: Json) -> object:
    return next(answer[name] for name in RESOURCE if name in answer)
