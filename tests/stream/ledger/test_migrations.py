"""A database of every earlier schema opens, with all that is in it."""

import pytest
from sqlalchemy import text

from stream.keys import NewKey, Scope, Sender
from stream.ledger import Ledger
from stream.ledger.database import Database
from stream.ledger.migrations import migrate
from tests.stream.stories import drafts

OLD_ROWS = (
    "INSERT INTO tasks (id, ordinal, kind, state, by, images, labels, attempts, deaths, progress, epochs, created_at) "
    """VALUES ('old', 1, 'learn', 'open', 'local', 1, '{"cat": 1}', 0, '{}', 0, '[]', '2029-12-31T00:00:00.000000Z')""",
    "INSERT INTO batches (task, number, images, size_bytes, at) "
    "VALUES ('old', 0, 1, 10, '2029-12-31T00:00:00.000000Z')",
    "INSERT INTO items (task, position, batch, sha256, pixel_digest, label, size_bytes, purged) "
    "VALUES ('old', 0, 0, 'a', 'b', 'cat', 10, false)",
)


@pytest.mark.parametrize("revision", ["0001", "0002", "0004", "0005"])
def test_a_database_of_an_earlier_schema_opens_with_all_that_is_in_it(database_url: str, revision: str) -> None:
    database = Database(database_url)
    with database.write() as connection:
        migrate(connection, revision)
        for statement in OLD_ROWS:
            connection.execute(text(statement.replace(":", r"\:")))
    database.close()
    ledger = Ledger.open(database_url)
    try:
        assert (ledger.task("old").labels, ledger.all_keys(), ledger.audit().items) == ({"cat": 1}, (), ())
        key, _ = ledger.create_key(NewKey("ci", Scope.LEARN))
        sender = Sender(key.id, key.name, 1)
        assert ledger.add_batch("old", drafts("dog"), commit=True, sender=sender).labels == {"cat": 1, "dog": 1}
    finally:
        ledger.close()


def test_a_split_of_an_earlier_schema_counts_as_the_clients_word(database_url: str) -> None:
    database = Database(database_url)
    with database.write() as connection:
        migrate(connection, "0004")
        for statement in OLD_ROWS:
            connection.execute(text(statement.replace(":", r"\:")))
        connection.execute(text("UPDATE items SET split = 'train'"))
    database.close()
    ledger = Ledger.open(database_url)
    try:
        ledger.cancel("old", by="ann")
        ledger.retry("old")
        assert [item.split for item in ledger.items("old")] == ["train"]
    finally:
        ledger.close()
