"""Keys: shown once, kept as a digest, revoked for good; and the images that each may bring in a day."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from stream.errors import Conflict, InvalidContent, NotFound, QuotaFull, TooLarge
from stream.keys import NewKey, Scope, Sender, digest_of, id_of, new_token, same
from stream.ledger import Ledger
from stream.ledger.database import Database
from stream.tasks import NewTask, new_task_id
from tests.stream.conftest import Clock
from tests.stream.stories import drafts

CI = NewKey("ci", Scope.LEARN)


def bring(ledger: Ledger, sender: Sender, images: int) -> None:
    new = NewTask(new_task_id(), sender.name)
    ledger.add_batch(None, drafts(*["cat"] * images, tag=new.id), commit=True, new_task=new, sender=sender)


def test_a_scope_includes_the_smaller_ones() -> None:
    included = {(one, other) for one in Scope for other in Scope if one.includes(other)}
    assert included == {
        ("predict", "predict"),
        ("learn", "predict"),
        ("learn", "learn"),
        ("admin", "predict"),
        ("admin", "learn"),
        ("admin", "admin"),
    }


def test_tokens_carry_their_id_and_no_two_are_alike() -> None:
    made = [new_token() for _ in range(100)]
    assert len({token for _, token in made}) == 100
    assert all(id_of(token) == key_id for key_id, token in made)
    assert id_of("evc_short_x") is None
    assert same(digest_of(made[0][1]), digest_of(made[0][1]))
    assert not same(digest_of(made[0][1]), digest_of(made[1][1]))


def test_only_a_digest_of_the_token_is_kept(ledger: Ledger, database_url: str) -> None:
    key, token = ledger.create_key(CI)
    assert key.digest == digest_of(token)
    assert id_of(token) == key.id
    database = Database(database_url)
    with database.read() as connection:
        kept = str(connection.execute(text("SELECT * FROM keys")).all())
    database.close()
    assert key.digest in kept
    assert token not in kept
    assert token.split("_", 2)[2] not in kept


def test_a_key_is_listed_with_all_that_was_said_of_it(ledger: Ledger, clock: Clock) -> None:
    new = NewKey("edge", Scope.PREDICT, clock() + timedelta(days=1), rate=2.5, images_per_day=7)
    made, _ = ledger.create_key(new)
    [listed] = ledger.all_keys()
    assert listed == made
    assert NewKey(made.name, made.scope, made.expires_at, made.rate, made.images_per_day) == new
    assert (made.created_at, made.revoked_at, made.last_used_at, made.ended(clock())) == (clock(), None, None, None)
    clock.forward(days=1)
    assert made.ended(clock()) == "has expired"


def test_every_change_of_the_keys_is_numbered(ledger: Ledger) -> None:
    numbers = [ledger.key_changes()]
    key, _ = ledger.create_key(CI)
    numbers.append(ledger.key_changes())
    ledger.note_key_uses({key.id: key.created_at})
    numbers.append(ledger.key_changes())
    ledger.revoke_key(key.id)
    numbers.append(ledger.key_changes())
    assert numbers == [0, 1, 1, 2]


def test_a_revoked_key_stays_in_the_list_and_sets_its_name_free(ledger: Ledger, clock: Clock) -> None:
    first, _ = ledger.create_key(CI)
    with pytest.raises(Conflict, match="ci"):
        ledger.create_key(CI)
    revoked = ledger.revoke_key("ci")
    assert (revoked.id, revoked.revoked_at, revoked.ended(clock())) == (first.id, clock(), "was revoked")
    clock.forward(hours=1)
    second, _ = ledger.create_key(CI)
    assert ledger.revoke_key(first.id) == revoked
    assert [key.id for key in ledger.all_keys()] == [first.id, second.id]
    assert ledger.revoke_key("ci").id == second.id
    for unknown in ("ci", "nobody", ""):
        with pytest.raises(NotFound):
            ledger.revoke_key(unknown)


def test_an_expired_key_sets_its_name_free(ledger: Ledger, clock: Clock) -> None:
    ledger.create_key(replace(CI, expires_at=clock() + timedelta(hours=1)))
    clock.forward(hours=2)
    ledger.create_key(CI)
    assert len(ledger.all_keys()) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "a\nb"},
        {"name": " a"},
        {"name": "a\x00"},
        {"name": "local"},
        {"rate": 0.0},
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"images_per_day": 0},
        {"images_per_day": 2**31},
    ],
)
def test_what_a_key_cannot_be_is_refused_by_name(ledger: Ledger, change: dict[str, object]) -> None:
    with pytest.raises(InvalidContent) as refused:
        ledger.create_key(replace(CI, **change))
    assert refused.value.errors[0].field == next(iter(change))
    assert ledger.all_keys() == ()


def test_the_latest_use_of_a_key_is_kept(ledger: Ledger, clock: Clock) -> None:
    key, _ = ledger.create_key(CI)
    late = clock() + timedelta(minutes=5)
    for at in (clock(), late, clock()):
        ledger.note_key_uses({key.id: at, "nobody": at})
    assert ledger.all_keys()[0].last_used_at == late


def test_a_key_brings_no_more_images_in_a_day_than_its_quota(ledger: Ledger, clock: Clock) -> None:
    sender, other = Sender("a", "ci", 10), Sender("b", "other", 10)
    bring(ledger, sender, 4)
    clock.forward(hours=6)
    bring(ledger, sender, 4)
    bring(ledger, other, 10)
    with pytest.raises(QuotaFull, match="the key ci is 10 images in 24 hours, of which 2 are left") as full:
        bring(ledger, sender, 3)
    assert full.value.retry_after_s == 18 * 3600 + 1
    with pytest.raises(QuotaFull) as fuller:
        bring(ledger, sender, 7)
    assert fuller.value.retry_after_s == 24 * 3600 + 1
    ledger.check_images(sender)
    bring(ledger, sender, 2)
    with pytest.raises(QuotaFull):
        ledger.check_images(sender)
    clock.forward(hours=18, seconds=1)
    bring(ledger, sender, 4)


def test_a_batch_above_the_quota_of_a_day_is_too_large_for_ever(ledger: Ledger) -> None:
    with pytest.raises(TooLarge, match="11 images are more than the 10"):
        bring(ledger, Sender("a", "ci", 10), 11)
    assert ledger.tasks().items == ()


def test_batches_that_come_at_once_do_not_get_past_the_quota(ledger: Ledger) -> None:
    outcomes: list[str] = []

    def try_to_bring() -> None:
        try:
            bring(ledger, Sender("a", "ci", 10), 4)
            outcomes.append("taken")
        except QuotaFull:
            outcomes.append("full")

    threads = [threading.Thread(target=try_to_bring) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["full"] * 4 + ["taken"] * 2


def test_who_has_no_quota_brings_what_it_likes(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger()
    ledger.check_images(Sender("a", "ci"))
    bring(ledger, Sender("a", "ci"), 30)
    assert ledger.tasks().items[0].images == 30
