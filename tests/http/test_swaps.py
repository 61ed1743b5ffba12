"""Under load, over the real server: every answer names its version and is that version's, whatever happens."""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests import digits
from tests.http.server import RunningServer
from tests.service.pictures import files

PICTURES = [digits.pngs(digit)[15] for digit in range(6)]
TOLERANCE = 1e-4


@dataclass
class Crowd:
    """Clients that predict without a pause; what they were answered, by version, and what went wrong."""

    url: str
    answered: Counter[int] = field(default_factory=Counter)
    scores: dict[tuple[int, int], list[dict[str, float]]] = field(default_factory=dict)
    wrong: list[object] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def asking(self, clients: int = 4) -> Iterator["Crowd"]:
        """Predict inside the block."""
        threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _ask(self, number: int) -> None:
        with httpx.Client(base_url=self.url, timeout=60) as client:
            while not self._stop.is_set():
                picture = number % len(PICTURES)
                number += 1
                self._note(picture, client.post("/predict?top_k=100", files=files(PICTURES[picture])))

    def _note(self, picture: int, reply: httpx.Response) -> None:
        with self._lock:
            if reply.status_code != 200:
                self.wrong.append((reply.status_code, reply.text))
                return
            body = reply.json()
            self.answered[body["version"]] += 1
            if reply.headers["x-model-version"] != str(body["version"]):
                self.wrong.append(("header", body["version"]))
            top = {one["label"]: one["score"] for one in body["predictions"][0]["top"]}
            self.scores.setdefault((body["version"], picture), []).append(top)


def truth(server: RunningServer, versions: tuple[int, ...]) -> dict[tuple[int, int], dict[str, float]]:
    """What each version says of each picture when it is asked by its number and nothing else goes on."""
    found = {}
    for version in versions:
        for picture, data in enumerate(PICTURES):
            body = server.client.post(f"/predict?version={version}&top_k=100", files=files(data)).json()
            found[version, picture] = {one["label"]: one["score"] for one in body["predictions"][0]["top"]}
    return found


def assert_own_answers(crowd: Crowd, expected: dict[tuple[int, int], dict[str, float]]) -> None:
    assert crowd.wrong == []
    for asked, tops in crowd.scores.items():
        for top in tops:
            assert set(top) == set(expected[asked])
            assert top == pytest.approx(expected[asked], abs=TOLERANCE)


@pytest.mark.parametrize("max_loaded", [1, 3])
def test_swaps_drop_nothing_and_mix_nothing(folder: Path, max_loaded: int) -> None:
    settings = {"serve.max_loaded": max_loaded, "serve.runtime": "onnxruntime", "serve.threads": 1}
    with RunningServer(folder, settings=settings) as server:
        server.wait_until_ready()
        expected = truth(server, (2, 4, 6))
        with Crowd(server.url).asking() as crowd:
            for version in (2, 4, 6, 4, 2, 6, 2, 4, 6):
                assert server.client.post("/rollback", json={"version": version}).status_code == 200
                body = server.client.post("/predict", files=files(PICTURES[0])).json()
                assert body["version"] == version
                time.sleep(0.2)
        assert_own_answers(crowd, expected)
        assert set(crowd.answered) == {2, 4, 6}


def test_requests_for_other_versions_do_not_disturb_those_for_the_one_in_force(folder: Path) -> None:
    with RunningServer(folder, settings={"serve.max_loaded": 1, "serve.runtime": "onnxruntime"}) as server:
        server.wait_until_ready()
        expected = truth(server, (2, 4, 6))
        with Crowd(server.url).asking(2) as crowd:
            for version in (2, 4) * 5:
                body = server.client.post(f"/predict?version={version}&top_k=100", files=files(*PICTURES)).json()
                assert body["version"] == version
                for picture, prediction in enumerate(body["predictions"]):
                    top = {one["label"]: one["score"] for one in prediction["top"]}
                    assert top == pytest.approx(expected[version, picture], abs=TOLERANCE)
        assert_own_answers(crowd, expected)
        assert set(crowd.answered) == {6}


def test_more_than_may_wait_is_refused_at_once_and_the_rest_is_answered(folder: Path) -> None:
    settings = {"serve.queue_images": 16, "serve.max_batch": 4, "serve.threads": 1}
    with RunningServer(folder, settings=settings) as server:
        server.wait_until_ready()
        statuses: Counter[int] = Counter()
        slow = []
        lock = threading.Lock()

        def ask() -> None:
            with httpx.Client(base_url=server.url, timeout=60) as client:
                for _ in range(10):
                    start = time.monotonic()
                    reply = client.post("/predict", files=files(*PICTURES, *PICTURES))
                    with lock:
                        statuses[reply.status_code] += 1
                        if reply.status_code == 429:
                            assert int(reply.headers["retry-after"]) >= 1
                            slow.append(time.monotonic() - start)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200, 429}
        assert sorted(slow)[len(slow) // 2] < 1


def test_a_task_is_learned_while_predictions_go_on(tmp_path: Path, seed: Path) -> None:
    settings = {
        "backbone": "test_vit",
        "weights": _weights(tmp_path),
        "image_size": 32,
        "learn.epochs": 2,
        "learn.min_steps": 4,
        "learn.threads": 1,
        "gate.enabled": False,
        "serve.runtime": "onnxruntime",
    }
    shutil.copytree(seed, tmp_path / "data")
    with RunningServer(tmp_path / "data", learner=True, settings=settings) as server:
        first = learn(server, 0, 1)
        assert (first["state"], first["versions"]) == ("done", [1, 2])
        with Crowd(server.url).asking(2) as crowd:
            second = learn(server, 2, 3)
        assert second["state"] == "done", second["reason"]
        assert server.client.get("/readyz").json()["version"] == 4
        assert set(crowd.answered) <= {2, 3, 4}
        assert len(crowd.answered) > 1
        server.wait_for(lambda: server.client.get("/versions/3").json()["state"] in ("ready", "deleted"), 10, "state")
        assert_own_answers(crowd, _known(crowd, truth(server, (2, 4))))


def _known(crowd: Crowd, expected: dict[tuple[int, int], dict[str, float]]) -> dict[tuple[int, int], dict[str, float]]:
    """A provisional version is swept once its final is in force: its answers are held against each other."""
    others = {asked: tops[0] for asked, tops in crowd.scores.items() if asked not in expected}
    return expected | others


def _weights(place: Path) -> Path:
    from tests import tiny_weights

    return tiny_weights.make("test_vit", place)


def learn(server: RunningServer, *labels: int) -> dict[str, object]:
    images = digits.labelled(*labels, count=12)
    reply = server.client.post(
        "/learn",
        files=[("images", (f"{number}.png", data)) for number, (data, _) in enumerate(images)],
        data={"labels": [label for _, label in images]},
    )
    assert reply.status_code == 202, reply.text
    with server.client.stream("GET", f"/tasks/{reply.json()['id']}/events", timeout=120) as events:
        lines = list(events.iter_lines())
    assert "event: task" in lines
    task: dict[str, object] = server.client.get(f"/tasks/{reply.json()['id']}").json()
    return task
