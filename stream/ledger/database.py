"""The connection to SQLite or PostgreSQL: one writer at a time, durable commits, errors in the stream's words."""

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy
from sqlalchemy import Connection, Engine, event, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from stream import files
from stream.errors import NoLedger, StorageFull, Unavailable
from stream.failpoints import reach

Clock = Callable[[], datetime]

BUSY_TIMEOUT_S = 30
"""How long a writer waits for its turn."""

CONNECT_TIMEOUT_S = 5
"""How long a PostgreSQL that does not answer is waited for at the start of a connection."""

SILENT_TIMEOUT_S = 15
"""After so long without a sign of life from PostgreSQL's machine a connection is given up."""

IDLE_WRITER_S = 60
"""PostgreSQL ends a writing transaction that asks nothing for so long: its writer may be cut off, and all others wait.
"""

POOL_SIZE = 8
POOL_OVERFLOW = 32

WRITE_LOCK = 0x45564552
"""The advisory lock that every writing transaction takes on PostgreSQL: one writer at a time, as on SQLite."""

SQLITE_FULL = "database or disk is full"
SQLITE_UNOPENED = "unable to open database file"
POSTGRES_FULL = "53100"
POSTGRES_READ_ONLY = "25006"
POSTGRES_IDLE_WRITER = "25P03"

MIGRATED = "alembic_version"
"""The table that every database has which was brought to a schema of ours."""

SERVING = (
    "SELECT a.seq, a.version, v.digest FROM aliases a JOIN versions v ON v.version = a.version "
    "WHERE a.alias = 'serving'"
)


def utc_now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


class Database:
    """Transactions on one database; may be used from any thread.

    With `make` a SQLite file and its folder are made where they are not there, without it that is NoLedger.
    """

    def __init__(self, url: str, clock: Clock = utc_now, *, make: bool = True) -> None:
        self.url = _complete(_parsed(url), make)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.now = clock
        self._engine = _engine(self.url)
        self._hot: _HotRead = _SqliteHotRead(self.url) if self.is_sqlite else _EngineHotRead(self._engine)

    def connect(self) -> None:
        """Reach it once. Raises ValueError where what is there can be no database of ours, and as every call does."""
        try:
            with self.read():
                pass
        except DBAPIError as error:
            raise ValueError(f"the database cannot be used: {str(error.orig).strip()}") from error
        except Unavailable as error:
            if not (self.is_sqlite and SQLITE_UNOPENED in str(error)):
                raise
            raise ValueError(f"{self.url.database} cannot be used: {SQLITE_UNOPENED}") from error

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and changes nothing."""
        with _errors(self.url), self._engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            else:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection
            connection.rollback()

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is the only writer; durable once the block is left, undone if it raises.

        Raises:
            StorageFull, Unavailable: nothing was changed.
        """
        with _errors(self.url), self._engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                # What is read has to be as of the lock's turn, whatever the server's default is.
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                connection.exec_driver_sql(
                    f"SET LOCAL lock_timeout = '{BUSY_TIMEOUT_S}s';"
                    f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_WRITER_S}s'"
                )
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")
            yield connection
            reach("commit.before")
            connection.commit()
            reach("commit.after")

    def check_made(self) -> None:
        """Raises NoLedger where the database has no tables of ours."""
        with self.read() as connection:
            if not inspect(connection).has_table(MIGRATED):
                raise NoLedger(self.url.render_as_string(hide_password=True))

    def serving(self) -> tuple[int, int, str] | None:
        """Sequence, version and digest of what is in force: asked for at every predict, so it goes round SQLAlchemy."""
        with _errors(self.url):
            return self._hot.serving()

    def close(self) -> None:
        """Let go of every connection."""
        self._hot.close()
        self._engine.dispose()


class _HotRead(Protocol):
    """What is in force, read as fast as the database allows; one for each kind of database."""

    def serving(self) -> tuple[int, int, str] | None:
        """Promotion, version and digest."""

    def close(self) -> None:
        """Let go of what it holds open."""


class _SqliteHotRead:
    """One connection of its own under a lock: a read takes some microseconds, less than fetching one from a pool."""

    def __init__(self, url: URL) -> None:
        self._path = str(url.database)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def serving(self) -> tuple[int, int, str] | None:
        with self._lock:
            if self._connection is None:
                self._connection = sqlite3.connect(
                    self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
                )
            row: tuple[int, int, str] | None = self._connection.execute(SERVING).fetchone()
        return row

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


class _EngineHotRead:
    """A connection of the pool, which the engine closes."""

    def close(self) -> None:
        """Nothing is held open."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    def serving(self) -> tuple[int, int, str] | None:
        with self._engine.connect() as connection:
            row = connection.exec_driver_sql(SERVING).fetchone()
        return None if row is None else (row[0], row[1], row[2])


def _parsed(url: str) -> URL:
    """Raises ValueError, without the URL, which may hold a password, for what is none."""
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError("this is no URL of a database; sqlite:///FILE and postgresql://… are") from None


def _complete(url: URL, make: bool) -> URL:
    """The URL with the driver that we use; a SQLite file's folder is made, or has to hold that file already."""
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ValueError("the database has to be a file: several processes share it")
        path = Path(url.database).absolute()
        if make:
            files.make_folder(path.parent)
        elif not path.is_file():
            raise NoLedger(str(path))
        return url.set(drivername="sqlite+pysqlite", database=str(path))
    if url.get_backend_name() in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise ValueError(f"the database cannot be {url.drivername}://…; sqlite:///… and postgresql://… can")


def _engine(url: URL) -> Engine:
    pool: dict[str, Any] = {"pool_size": POOL_SIZE, "max_overflow": POOL_OVERFLOW, "pool_timeout": BUSY_TIMEOUT_S}
    if url.get_backend_name() != "sqlite":
        patience = {name: value for name, value in _patience().items() if name not in url.query}
        return sqlalchemy.create_engine(
            url, pool_pre_ping=True, json_serializer=_as_json, connect_args=patience, **pool
        )
    engine = sqlalchemy.create_engine(url, json_serializer=_as_json, connect_args={"timeout": BUSY_TIMEOUT_S}, **pool)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _patience() -> dict[str, int]:
    """libpq's parameters by which a server that has gone without a word is noticed; those of the URL win."""
    return {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": SILENT_TIMEOUT_S // 3,
        "keepalives_interval": SILENT_TIMEOUT_S // 3,
        "keepalives_count": 2,
        "tcp_user_timeout": SILENT_TIMEOUT_S * 1000,
    }


def _as_json(value: Any) -> str:
    """PostgreSQL refuses a NaN in JSON, and so does every reader of an answer: SQLite has to refuse it as well."""
    return json.dumps(value, allow_nan=False)


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    """Transactions are begun by us; commits wait for the disk; readers and the writer do not wait for each other."""
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    _turn_on_wal(connection)


def _turn_on_wal(connection: sqlite3.Connection) -> None:
    """The switch to WAL does not wait for its turn by itself, and is needed once in a database's life.

    SQLite may also leave the mode as it was and say so without an error; commits in the old mode do not survive every
    power cut (the name of a deleted journal may come back).
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            mode = "locked"
        if mode == "wal":
            return
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError(f"disk I/O error: the database stays in journal mode {mode}")
        time.sleep(0.02)


@contextlib.contextmanager
def _errors(url: URL) -> Iterator[None]:
    """Turn the databases' ways of failing into the stream's; what is our own mistake stays as it is."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("the database is busy") from error
    except sqlite3.OperationalError as error:
        raise _translated(url, error, error) from error
    except DBAPIError as error:
        refused = getattr(error.orig, "sqlstate", None) in (POSTGRES_READ_ONLY, POSTGRES_IDLE_WRITER)
        if not isinstance(error, OperationalError) and not error.connection_invalidated and not refused:
            raise
        raise _translated(url, error, error.orig) from error


def _translated(url: URL, error: Exception, cause: BaseException | None) -> Exception:
    if getattr(cause, "sqlstate", None) == POSTGRES_FULL or SQLITE_FULL in str(cause):
        return StorageFull(url.render_as_string(hide_password=True))
    if isinstance(cause, sqlite3.OperationalError) and not any(
        word in str(cause) for word in ("locked", "open", "I/O", "readonly")
    ):
        return error
    return Unavailable(f"the database does not answer: {cause}")
