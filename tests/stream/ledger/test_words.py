"""Whatever comes from outside is answered in the stream's words by both databases alike."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy.exc import StatementError

from stream.errors import InvalidContent, NotFound
from stream.ledger import Ledger, Ticket
from stream.tasks import Epoch, ItemDraft, NewTask, Phase, new_task_id
from tests.stream.conftest import Clock
from tests.stream.stories import claimed, digest, in_force, learned, learner


@pytest.mark.parametrize("task_id", ["", "\x00", "a\x00b", "\ud800", "ä", "a" * 65, "a/b", "' OR 1=1 --"])
def test_a_strange_task_id_is_one_that_does_not_exist(ledger: Ledger, task_id: str) -> None:
    with pytest.raises(NotFound):
        ledger.task(task_id)
    with pytest.raises(NotFound):
        ledger.rollback_target(task=task_id)


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**63, 10**40])
def test_a_strange_number_is_one_that_does_not_exist(ledger: Ledger, number: int) -> None:
    learned(ledger, learner(ledger))
    for ask in (ledger.version, ledger.promotion, ledger.lineage, ledger.delete_version):
        with pytest.raises(NotFound):
            ask(number)
    with pytest.raises(NotFound):
        ledger.move_alias("serving", number, by="ann")
    with pytest.raises(InvalidContent, match="version"):
        ledger.create_task(by="ann", requested_base=number)
    assert in_force(ledger) == 2


def test_a_cursor_beyond_all_pages_is_the_first_page(ledger: Ledger) -> None:
    learned(ledger, learner(ledger))
    assert len(ledger.versions("9" * 18).items) == 2


@pytest.mark.parametrize("text", ["a\x00b", "half \ud83d an emoji"])
def test_words_that_no_database_keeps_are_refused_by_name(ledger: Ledger, text: str) -> None:
    learned(ledger, learner(ledger))
    for field, call in (
        ("name", lambda: ledger.create_task(by="ann", name=text)),
        ("note", lambda: ledger.create_task(by="ann", note=text)),
        ("reason", lambda: ledger.move_alias("serving", 1, by="ann", reason=text)),
    ):
        with pytest.raises(InvalidContent) as refused:
            call()
        assert refused.value.errors[0].field == field


def test_a_file_may_have_any_name(ledger: Ledger) -> None:
    new = NewTask(new_task_id(), "ann", name="Bärbel’s 猫 \U0001f408", note='it\'s; "quoted" \\ %s {0}\n\t')
    strange = ItemDraft(digest("a"), "猫", 1, digest("b"), name="a\x00b\udcff/../" + "x" * 5000)
    task = ledger.add_batch(None, [strange], commit=True, new_task=new)
    assert (task.name, task.note, task.labels) == (new.name, new.note, {"猫": 1})
    assert ledger.items(task.id)[0].name == "a?b?/../" + "x" * 5000


@pytest.mark.parametrize("key", ["", "ä", "a" * 256, "a\nb", "\x00"])
def test_an_idempotency_key_is_short_and_plain(ledger: Ledger, key: str) -> None:
    with pytest.raises(InvalidContent, match="Idempotency-Key"):
        ledger.begin_request(Ticket(key, "admin", "POST /learn"), "service:a")
    assert ledger.begin_request(Ticket("a" * 255, "admin", "POST /learn"), "service:a") is None


def test_keys_are_kept_as_long_as_configured(tmp_path: Path, clock: Clock) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", clock=clock, keys_kept_h=1)
    ticket = Ticket("k", "admin", "POST /tasks", "fingerprint")
    ledger.begin_request(ticket, "service:a")
    ledger.create_task(by="ann", ticket=ticket)
    assert ledger.begin_request(ticket, "service:a") is not None
    clock.forward(hours=2)
    assert ledger.begin_request(ticket, "service:a") is None
    ledger.close()


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2030, 1, 1),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
    ],
)
def test_a_time_without_zone_or_beyond_the_calendar_is_refused(ledger: Ledger, moment: datetime) -> None:
    with pytest.raises(InvalidContent) as refused:
        ledger.promotion_at(moment)
    assert refused.value.errors[0].field == "at"


def test_times_of_any_zone_are_compared_as_times(ledger: Ledger, clock: Clock) -> None:
    learned(ledger, learner(ledger))
    zone = timezone(timedelta(hours=9))
    assert ledger.promotion_at(clock.time.astimezone(zone)) is not None
    assert ledger.promotion_at((clock.time - timedelta(microseconds=1)).astimezone(zone)) is None
    assert ledger.version(1).created_at.tzinfo == UTC


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_figures_that_json_cannot_say_are_never_stored(ledger: Ledger, value: float) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    with pytest.raises((StatementError, ValueError), match="JSON"):
        ledger.report(lease, task.id, Phase.TRAINING, 0.5, None, [Epoch(1, value, 0.5)])
    ledger.report(lease, task.id, Phase.TRAINING, 0.5, value, [])
    assert (ledger.task(task.id).eta_s, ledger.task(task.id).epochs) == (None, ())
