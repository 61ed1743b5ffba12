"""The audit log: appended to, read in pages, forgotten with age."""

from datetime import UTC, datetime

from stream.keys import AuditEntry
from stream.ledger import Ledger
from tests.stream.conftest import Clock

AT = datetime(2030, 1, 1, tzinfo=UTC)


def entry(**other: object) -> AuditEntry:
    return AuditEntry(
        **{"at": AT, "key": "k", "name": "ci", "route": "/learn", "method": "POST", "status": 202} | other
    )


def test_entries_are_numbered_and_come_newest_first(ledger: Ledger) -> None:
    ledger.record_audit([entry(object="/tasks/1", remote="10.0.0.1"), entry(status=403, key=None, name=None, times=7)])
    ledger.record_audit([])
    ledger.record_audit([entry(status=409)])
    page = ledger.audit(limit=2)
    assert [(one.seq, one.status, one.times) for one in page.items] == [(3, 409, 1), (2, 403, 7)]
    [oldest] = ledger.audit(page.next).items
    assert oldest == entry(seq=1, object="/tasks/1", remote="10.0.0.1")


def test_what_strangers_sent_is_made_fit_to_keep(ledger: Ledger) -> None:
    ledger.record_audit([entry(route="/\x00\ud800" + "x" * 500, object="y" * 400, remote=None)])
    [kept] = ledger.audit().items
    assert (kept.route[:4], len(kept.route), kept.object) == ("/??x", 300, "y" * 300)
    ledger.record_audit([entry(object="\x1b]0;pwned\x07\nline\u202ertl", remote="1.2.3.4\x1b[31m")])
    shown = ledger.audit().items[0]
    assert (shown.object, shown.remote) == ("?]0;pwned??line?rtl", "1.2.3.4?[31m")


def test_old_entries_are_forgotten_and_numbers_go_on(ledger: Ledger, clock: Clock) -> None:
    ledger.record_audit([entry(), entry()])
    clock.forward(days=10)
    assert ledger.forget_audit(30) == 0
    clock.forward(days=21)
    assert ledger.forget_audit(30) == 1
    ledger.record_audit([entry(at=clock())])
    assert [one.seq for one in ledger.audit().items] == [3, 2]
    assert ledger.forget_audit(30) == 1
