"""Every hostile file and request, posted to one real server: the right answer each, and nothing left of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from service.app import make_app
from service.settings import load_settings
from tests.attacks.corpus import archives, forms, images, tables
from tests.attacks.corpus.attack import Attack
from tests.attacks.corpus.making import encoded
from tests.http.server import WORKER, RunningServer

CORPUS = [*images.attacks(), *archives.attacks(), *tables.attacks(), *forms.attacks()]
GROWTH_MB = 450
"""How much more memory the service may hold after the corpus than before: allocators and Parquet's reader keep some."""

PEAK_MB = 900
"""How much more it may have held at any time: a few files of the largest size that is allowed."""


@dataclass
class Target:
    """The server, and what it took."""

    server: RunningServer
    before_mb: float
    had: frozenset[str]
    taken: list[str] = field(default_factory=list)
    answered: int = 0


@pytest.fixture(scope="module")
def target(attacked: Path) -> Iterator[Target]:
    settings = {"serve.threads": 1, "serve.runtime": "onnxruntime"}
    with RunningServer(attacked, settings=settings) as server:
        server.wait_until_ready()
        for _ in range(20):
            reply = server.client.post("/predict", content=encoded("PNG"), headers={"content-type": "image/png"})
            assert reply.status_code == 200
        yield Target(server, memory_mb(server, "VmRSS"), frozenset(tasks_kept(attacked)))


def tasks_kept(root: Path) -> set[str]:
    """The tasks whose images are stored."""
    return {path.name for path in (root / "blobs" / "tasks").iterdir()}


def memory_mb(server: RunningServer, name: str) -> float:
    """What the kernel says of the service's memory, with that of the processes it started."""
    worker = psutil.Process(server.pid_of(WORKER))
    status = [Path(f"/proc/{one.pid}/status").read_text() for one in (worker, *worker.children(recursive=True))]
    return sum(int(text.split(f"{name}:")[1].split()[0]) for text in status) / 1024


def test_the_corpus_is_large_and_no_two_of_it_are_called_the_same() -> None:
    assert len({attack.name for attack in CORPUS}) == len(CORPUS) > 200


def test_every_answer_to_the_corpus_is_documented(tmp_path: Path) -> None:
    paths = make_app(load_settings({"data_dir": tmp_path}).settings).app.openapi()["paths"]
    for attack in CORPUS:
        assert str(attack.status) in paths[attack.path.partition("?")[0]]["post"]["responses"], attack.name


@pytest.mark.parametrize("attack", CORPUS, ids=lambda attack: attack.name)
def test_an_attack_gets_its_answer(target: Target, attack: Attack) -> None:
    reply = target.server.client.post(attack.path, content=attack.body(), headers={"content-type": attack.content_type})
    target.answered += 1
    body = reply.json()
    if reply.status_code == 202:
        target.taken.append(body["id"])
    assert reply.status_code == attack.status, reply.text[:1000]
    if attack.status >= 400:
        assert reply.headers["content-type"] == "application/problem+json"
        assert "Error" not in body["detail"] and str(target.server.data_dir) not in reply.text
    assert (body["errors"][0]["field"] if "errors" in body else None) == attack.field, reply.text[:1000]


def test_nothing_is_left_of_it_all(target: Target) -> None:
    client, root = target.server.client, target.server.data_dir
    if target.answered < len(CORPUS):
        pytest.skip("only after the whole corpus")
    assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
    assert list((root / "incoming").iterdir()) == []
    assert tasks_kept(root) - target.had == set(target.taken)
    assert 'status="500"' not in client.get("/metrics").text
    assert memory_mb(target.server, "VmRSS") - target.before_mb < GROWTH_MB
    assert memory_mb(target.server, "VmHWM") - target.before_mb < PEAK_MB


def test_a_label_is_one_label_however_it_is_spelled(target: Target) -> None:
    spelled = {"M\u00f6we", "Mo\u0308we", " M\u00f6we "}
    found = set()
    for label in spelled:
        files = [("images", ("a.png", encoded("PNG")))]
        task = target.server.client.post("/learn?commit=false", files=files, data={"labels": [label]}).json()
        found |= set(task["labels"])
    assert found == {"M\u00f6we"}
