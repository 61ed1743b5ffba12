"""What cannot be told is left out of a scrape, and the rest is told."""

from pathlib import Path

from service.gauges import of_disk, of_learning
from stream.errors import Unavailable
from stream.ledger import LeaseView


class Away:
    """A ledger whose database does not answer."""

    def lease(self, name: str) -> LeaseView | None:
        raise Unavailable("the database does not answer")


def test_while_the_database_is_away_nothing_is_told_of_learning() -> None:
    assert list(of_learning(Away())) == []  # type: ignore[arg-type]


def test_of_a_folder_that_is_gone_no_room_is_told(tmp_path: Path) -> None:
    (here,) = of_disk(tmp_path)
    assert here.samples[0].value > 0
    assert list(of_disk(tmp_path / "gone")) == []
