"""The real application with real versions, in this process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.app import make_app
from service.settings import load_settings

Serve = Callable[..., TestClient]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start the application on a folder (default: an empty one) with settings, and stop it after the test."""
    with ExitStack() as stack:

        def start(folder: Path | None = None, **flags: object) -> TestClient:
            given = {"data_dir": folder or tmp_path / "empty", "serve.threads": 1, "serve.runtime": "onnxruntime"}
            # Children would start anew with each test; those of a real server have tests of their own.
            given["serve.decoders"] = 0
            named = {name.replace("__", "."): value for name, value in flags.items()}
            service = make_app(load_settings(given | named).settings)
            here = ("127.0.0.1", 50_000)
            client = TestClient(service.asgi, "http://localhost", raise_server_exceptions=False, client=here)
            client.app_state = service.app.state  # type: ignore[attr-defined]
            return stack.enter_context(client)

        yield start


@pytest.fixture
def client(serve: Serve, folder: Path) -> TestClient:
    """The application on a copy of the taught folder."""
    return serve(folder)
