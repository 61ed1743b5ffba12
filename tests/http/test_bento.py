"""`bentoml build` makes a bento that serves from another folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from packaging.requirements import Requirement

from service.settings import load_settings
from tests import digits
from tests.http.server import free_port
from tests.http.test_processes import until
from tests.service.pictures import files

ROOT = Path(__file__).resolve().parents[2]


def bentoml(home: Path, *words: str, **others: object) -> "subprocess.Popen[str]":
    environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    environment |= others.pop("environment", {})  # type: ignore[arg-type]
    command = [sys.executable, "-m", "bentoml", *words]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **others
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bento store with one bento in it."""
    home = tmp_path_factory.mktemp("bentoml")
    with bentoml(home, "build", cwd=ROOT) as build:
        words, _ = build.communicate(timeout=200)
    assert build.returncode == 0, words
    return home


def test_a_bento_holds_the_server_and_nothing_else(home: Path) -> None:
    [bento] = [path.parent for path in home.glob("bentos/everclass/*/bento.yaml")]
    assert {path.name for path in (bento / "src").iterdir()} == {
        "bentofile.yaml",
        "pyproject.toml",
        "README.md",
        "everclass",
        "model",
        "service",
        "stream",
    }
    ours = [path.relative_to(ROOT) for name in ("service", "stream", "model") for path in (ROOT / name).rglob("*.py")]
    assert [path for path in ours if not (bento / "src" / path).is_file()] == []


def test_a_bento_installs_what_the_lock_names(home: Path) -> None:
    [taken] = home.glob("bentos/everclass/*/env/python/requirements.txt")
    assert pins(taken) == pins(ROOT / "locks" / "bento.txt")


def pins(file: Path) -> set[tuple[Requirement, frozenset[str]]]:
    """Packages with their hashes; BentoML adds itself once more, at the version that built the bento."""
    found = re.split(r"\n(?=\S)", file.read_text().strip())
    return {
        (Requirement(re.split(r" +(?:\\|--)", entry)[0]), frozenset(re.findall(r"--hash=(\S+)", entry)))
        for entry in found
        if "--hash" in entry
    }


def test_a_bento_serves_from_another_folder(home: Path, folder: Path, tmp_path: Path) -> None:
    settings = load_settings({"data_dir": folder, "port": free_port()}).settings
    where = ("serve", "everclass:latest", "--port", str(settings.port))
    with bentoml(home, *where, cwd=tmp_path, environment=settings.to_environment()) as server:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=10) as client:
                assert until(lambda: client.get("/readyz").status_code == 200)
                answer = client.post("/predict", files=files(digits.pngs(0)[0]))
                assert answer.json()["version"] == 6
            [worker] = psutil.Process(server.pid).children()
            assert Path(worker.cwd()).is_relative_to(home)
        finally:
            server.terminate()
            server.communicate(timeout=60)
