"""The real server asked, by a fuzzer that reads its own description, for all that it promises there and more."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.http.server import RunningServer

CHECKS = Path(__file__).with_name("checks.toml")
COMMAND = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"
ROOM = {"limits.queue_tasks": 10**6, "serve.queue_images": 10**6}
"""A full queue is a right answer to anything, and would hide wrong ones."""


@dataclass(frozen=True)
class Wish:
    """How much is tried. `examples` are those of one call in one phase; `phases` are the fuzzer's own names."""

    examples: int
    seed: int
    phases: tuple[str, ...] = ("coverage", "fuzzing", "stateful")


@dataclass(frozen=True)
class Found:
    """What the fuzzer said, and whether all was as described."""

    good: bool
    words: str
    seconds: float


def fuzz(server: RunningServer, place: Path, wish: Wish, headers: Mapping[str, str]) -> Found:
    """Try every call of the server with every check on, as the fuzzer has it by default.

    `headers` go with each request that is to be let in.
    """
    command = [sys.executable, "-c", COMMAND, "--config-file", str(CHECKS), "--no-color", "run"]
    command += [f"{server.url}/openapi.json", "--phases", ",".join(wish.phases)]
    command += ["--seed", str(wish.seed), "--max-examples", str(wish.examples), "--continue-on-failure"]
    for name, value in headers.items():
        command += ["--header", f"{name}: {value}"]
    started = time.monotonic()
    # Warnings are for our code, not for the fuzzer's own.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run(command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return Found(done.returncode == 0, done.stdout.decode(), time.monotonic() - started)


def make_key(server: RunningServer) -> dict[str, str]:
    """The header of an admin key, made while the server runs; returns once the server asks for keys."""
    command = [sys.executable, "-m", "everclass.main", "keys", "create", "--name", "fuzzer", "--scope", "admin"]
    said = subprocess.run(
        [*command, "--data-dir", str(server.data_dir), "--json"], check=True, stdout=subprocess.PIPE
    ).stdout
    server.wait_for(lambda: server.client.get("/versions").status_code == 401, 20, "the server asks for no key")
    return {"Authorization": f"Bearer {json.loads(said)['key']}"}
