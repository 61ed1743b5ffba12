"""The keys in memory: how a token is recognised, and what happens while the database does not answer."""

import hmac
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from service.access.auditing import Auditor, Call
from service.access.caller import NOBODY, Caller
from service.access.rates import Bucket
from service.access.ring import KeyRing
from service.access.rounds import Rounds
from service.problems import Problem
from stream.errors import Unavailable
from stream.keys import NewKey, Scope, digest_of
from stream.ledger import Ledger

UNKNOWN = "evc_000000000000_" + "x" * 43
FILE_TOKEN = "f" * 40
CALL = Call("POST", "/tasks", "10.0.0.1", NOBODY)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A ledger that waits only shortly for its turn."""
    monkeypatch.setattr("stream.ledger.database.BUSY_TIMEOUT_S", 0.1)
    opened = Ledger.open(f"sqlite:///{tmp_path}/keys.db")
    yield opened
    opened.close()


@pytest.fixture
def busy(ledger: Ledger, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another process that can hold on to the database with BEGIN IMMEDIATE."""
    connection = sqlite3.connect(tmp_path / "keys.db", isolation_level=None)
    yield connection
    connection.close()


def test_every_token_is_compared_in_constant_time(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    key, token = ledger.create_key(NewKey("ann", Scope.LEARN))
    ring = KeyRing(ledger, digest_of(FILE_TOKEN))
    ring.refresh()
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def listening(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return compare(one, other)

    monkeypatch.setattr("stream.keys.hmac.compare_digest", listening)
    assert ring.recognise(token) == Caller(key.id, "ann", Scope.LEARN)
    assert ring.recognise(FILE_TOKEN).scope is Scope.ADMIN
    for wrong in (token[:-1] + ("a" if token[-1] != "a" else "b"), UNKNOWN, "nonsense"):
        with pytest.raises(Problem):
            ring.recognise(wrong)
    assert len(compared) == 2 * 5


def test_a_key_that_is_made_or_revoked_elsewhere_counts_from_the_next_round(ledger: Ledger) -> None:
    ring = KeyRing(ledger, None)
    rounds = Rounds(ledger, ring, Auditor(ledger), 30)
    rounds.start()
    try:
        assert not ring.asks_for_keys
        key, token = ledger.create_key(NewKey("ann", Scope.LEARN))
        rounds.turn(1e9)
        assert ring.recognise(token).name == "ann"
        ledger.revoke_key(key.id)
        rounds.turn(2e9)
        with pytest.raises(Problem, match="401"):
            ring.recognise(token)
        assert ring.known(token) == Caller(key.id, "ann", Scope.LEARN)
        assert ring.known(token[:-2] + "..") is None
    finally:
        rounds.close()


def test_what_could_not_be_written_is_written_later(
    ledger: Ledger, busy: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    key, token = ledger.create_key(NewKey("ann", Scope.LEARN))
    ring, auditor = KeyRing(ledger, None), Auditor(ledger)
    rounds = Rounds(ledger, ring, auditor, 30)
    ring.refresh()
    ring.recognise(token)
    auditor.refused(CALL, 403)
    busy.execute("BEGIN IMMEDIATE")
    for write in (ring.write_uses, auditor.write):
        with pytest.raises(Unavailable):
            write()
    auditor.refused(CALL, 403)
    rounds.turn(1e9)
    assert "keys and audit log wait for the database" in caplog.text
    busy.execute("ROLLBACK")
    rounds.turn(2e9)
    assert ledger.all_keys()[0].last_used_at is not None
    assert [(line.status, line.times) for line in ledger.audit().items] == [(403, 2)]
    assert key.last_used_at is None


def test_a_change_that_cannot_be_noted_stands_in_the_servers_log(
    ledger: Ledger, busy: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    busy.execute("BEGIN IMMEDIATE")
    with caplog.at_level(logging.ERROR):
        Auditor(ledger).changed(CALL, 201, "/tasks/x")
    assert "/tasks/x" in caplog.text
    assert "not in the audit log" in caplog.text


def test_a_round_that_fails_unforeseen_is_not_the_last(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    ring = KeyRing(ledger, None)
    rounds = Rounds(ledger, ring, Auditor(ledger), float("nan"))
    rounds.turn(1e9)
    assert "were not looked after" in caplog.text
    _, token = ledger.create_key(NewKey("ann", Scope.LEARN))
    rounds.turn(2e9)
    assert ring.recognise(token).name == "ann"


def test_a_bucket_holds_a_seconds_worth_and_is_refilled_all_the_time() -> None:
    bucket = Bucket(4.0)
    assert [bucket.wait_s(100.0) for _ in range(5)] == [0, 0, 0, 0, 0.25]
    assert [bucket.wait_s(100.25), bucket.wait_s(100.25)] == [0, 0.25]
    assert [bucket.wait_s(1000.0) for _ in range(5)] == [0, 0, 0, 0, 0.25]
    assert bucket.wait_s(0.0) == 0.25
    slow = replace(Bucket(0.5))
    assert [slow.wait_s(50.0), slow.wait_s(50.0), slow.wait_s(52.0)] == [0, 2.0, 0]
