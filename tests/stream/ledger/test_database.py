"""One writer at a time, on one file or one server, and every failure in the stream's words."""

import multiprocessing
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from stream.errors import NoLedger, StorageFull, Unavailable
from stream.ledger import Ledger
from stream.ledger.database import CONNECT_TIMEOUT_S, Database
from stream.ledger.schema import metadata
from stream.tasks import NewTask, TaskState, new_task_id
from tests.stream.conftest import fresh_postgres
from tests.stream.stories import drafts, learned, learner, queued


def test_the_migrations_make_the_tables_that_the_schema_names(ledger: Ledger, database_url: str) -> None:
    database = Database(database_url)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_an_old_ledger_opens_again_with_all_that_is_in_it(open_ledger: Callable[[], Ledger]) -> None:
    first = open_ledger()
    task = queued(first)
    first.close()
    assert open_ledger().task(task.id) == task


def test_who_only_looks_at_a_ledger_makes_none(database_url: str, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(NoLedger, match="no server has kept anything in"):
            Ledger.open(database_url, make=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NoLedger):
        Ledger.open(f"sqlite:///{tmp_path}/no/such/folder/ledger.db", make=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.db").touch()
    with pytest.raises(NoLedger):
        Ledger.open(f"sqlite:///{tmp_path}/empty.db", make=False)
    Ledger.open(database_url).close()
    Ledger.open(database_url, make=False).close()


def test_several_may_open_a_new_database_at_once(open_ledger: Callable[[], Ledger]) -> None:
    failures: list[BaseException] = []

    def open_one() -> None:
        try:
            open_ledger().tasks()
        except BaseException as error:
            failures.append(error)

    _together(open_one, 6)
    assert failures == []


def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/ledger.db")
    with database.write() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    database.close()


def test_a_write_that_raises_changes_nothing(ledger: Ledger, database_url: str) -> None:
    database = Database(database_url)
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute(text("INSERT INTO graphs (key, digest, at) VALUES ('k', 'd', 'now')"))
        raise RuntimeError
    database.close()
    assert ledger.graph("k") is None


def test_a_reader_sees_one_state_while_others_write(ledger: Ledger, database_url: str) -> None:
    queued(ledger)
    database = Database(database_url)
    with database.read() as connection:
        count = text("SELECT count(*) FROM tasks")
        assert connection.execute(count).scalar() == 1
        queued(ledger)
        assert connection.execute(count).scalar() == 1
    database.close()
    assert len(ledger.tasks().items) == 2


def test_writers_of_several_threads_lose_nothing(ledger: Ledger) -> None:
    _together(lambda: [queued(ledger) for _ in range(5)], 6)
    tasks = ledger.tasks().items
    assert sorted(task.seq for task in tasks if task.seq) == list(range(1, 31))
    assert sorted(task.position for task in tasks if task.position) == list(range(1, 31))


def test_writers_of_several_processes_lose_nothing(ledger: Ledger, database_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_queue_some, args=(database_url, 5)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sorted(task.seq for task in ledger.tasks().items if task.seq) == list(range(1, 16))


def test_every_task_is_claimed_by_one_learner(open_ledger: Callable[[], Ledger]) -> None:
    """Learners race for the lease; whoever has it finishes a task and lets go."""
    ledger = open_ledger()
    waiting = [queued(ledger).id for _ in range(6)]
    done: list[str] = []

    def learn(owner: str) -> None:
        while len(done) < len(waiting):
            lease = ledger.acquire_lease("learner", owner, "here", 8.0)
            if lease is None:
                time.sleep(0.01)
                continue
            task = ledger.claim(lease)
            if task is not None:
                done.append(ledger.finish(lease, task.id).id)
            ledger.release_lease(lease)

    threads = [threading.Thread(target=learn, args=(f"learner-{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == waiting
    assert {task.state for task in ledger.tasks().items} == {TaskState.DONE}


def test_asking_what_serves_is_cheap_and_fresh(open_ledger: Callable[[], Ledger]) -> None:
    here, there = open_ledger(), open_ledger()
    assert here.serving() is None
    learned(there, learner(there))
    serving = here.serving()
    assert serving is not None
    assert serving.version == 2
    if here.is_sqlite:
        began = time.thread_time()
        for _ in range(1000):
            here.serving()
        assert (time.thread_time() - began) / 1000 < 200e-6


def test_asking_what_serves_works_from_many_threads(ledger: Ledger) -> None:
    learned(ledger, learner(ledger))
    seen: list[int] = []

    def ask() -> None:
        for _ in range(50):
            serving = ledger.serving()
            assert serving is not None
            seen.append(serving.version)

    _together(ask, 8)
    assert seen == [2] * 400


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://localhost/x"])
def test_a_database_that_cannot_be_shared_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="the database"):
        Ledger.open(url)


def test_the_folder_of_a_sqlite_file_is_made(tmp_path: Path) -> None:
    Ledger.open(f"sqlite:///{tmp_path}/some/where/ledger.db").close()
    assert (tmp_path / "some/where/ledger.db").exists()


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable) as refused:
        Ledger.open("postgresql://localhost:1/nothing")
    assert refused.value.retry_after_s > 0


def test_a_server_that_comes_back_is_used_again(postgres: str) -> None:
    url = fresh_postgres(postgres)
    ledger = Ledger.open(url)
    queued(ledger)
    ledger.serving()
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND datname = current_database()"
        )
    engine.dispose()
    assert ledger.serving() is None
    assert len(ledger.tasks().items) == 1
    ledger.close()


def test_a_full_disk_is_named_and_nothing_is_half_written(tmp_path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    queued(ledger)
    with ledger._database.read() as connection:
        # The pool has this one connection, so the bound holds for what follows.
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    new = NewTask(new_task_id(), "ann")
    with pytest.raises(StorageFull, match=r"ledger\.db"):
        ledger.add_batch(None, drafts(*["cat"] * 500), commit=True, new_task=new)
    assert len(ledger.tasks().items) == 1
    ledger.close()


def test_a_file_that_cannot_be_opened_is_a_wrong_place_at_first_and_unavailable_later(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    url = f"sqlite:///{tmp_path}/ledger.db"
    with pytest.raises(ValueError, match=r"ledger\.db cannot be used: unable to open database file"):
        Ledger.open(url)
    database = Database(url)
    with pytest.raises(Unavailable), database.read():
        pass
    database.close()


def test_what_is_no_database_and_what_is_no_url_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("This is not a database.\n" * 100)
    with pytest.raises(ValueError, match=r"^the database cannot be used: file is not a database$"):
        Ledger.open(f"sqlite:///{tmp_path}/file")
    with pytest.raises(ValueError, match=r"^this is no URL of a database"):
        Ledger.open("nonsense")


def test_our_own_mistakes_are_not_called_the_databases(ledger: Ledger, database_url: str) -> None:
    database = Database(database_url)
    with pytest.raises(sqlalchemy.exc.DBAPIError), database.write() as connection:
        connection.exec_driver_sql("SELECT * FROM nowhere")
    database.close()


def test_a_writer_that_never_gets_its_turn_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.ledger.database.BUSY_TIMEOUT_S", 0.2)
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    blocker = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        queued(ledger)
    assert ledger.serving() is None
    blocker.close()
    queued(ledger)
    ledger.close()


def _queue_some(url: str, count: int) -> None:
    ledger = Ledger.open(url)
    for _ in range(count):
        queued(ledger)
    ledger.close()


def _together(work: Callable[[], object], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_postgresql_that_takes_no_writes_any_more_is_unavailable(postgres: str) -> None:
    """As after a failover, when it has become the one that follows."""
    database = Database(fresh_postgres(postgres))
    with pytest.raises(Unavailable), database.write() as connection:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        connection.exec_driver_sql("CREATE TABLE no (number integer)")
    database.close()


def test_a_postgresql_that_says_nothing_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.ledger.database.CONNECT_TIMEOUT_S", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = Database(f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/nothing")
        with pytest.raises(Unavailable):
            database.serving()
        database.close()


def test_what_the_url_says_of_patience_wins() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = Database(f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/nothing?connect_timeout=2")
        began = time.monotonic()
        with pytest.raises(Unavailable):
            database.serving()
        assert time.monotonic() - began < CONNECT_TIMEOUT_S
        database.close()


def test_a_writer_that_is_cut_off_stands_in_the_way_for_a_time_only(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.ledger.database.IDLE_WRITER_S", 1)
    url = fresh_postgres(postgres)
    mute, ledger = Database(url), Ledger.open(url)
    with pytest.raises(Unavailable), mute.write() as connection:
        connection.exec_driver_sql("CREATE TABLE half (number integer)")
        queued(ledger)
    assert len(ledger.tasks().items) == 1
    with ledger._database.read() as connection:
        assert connection.exec_driver_sql("SELECT to_regclass('half')").scalar_one() is None
    mute.close()
    ledger.close()
