"""The ledger: what is known of tasks, versions, promotions and leases, in SQLite or PostgreSQL."""

from stream.ledger.database import Clock
from stream.ledger.intake import Quota
from stream.ledger.leases import STORE, Lease, LeaseView
from stream.ledger.ledger import Ledger
from stream.ledger.pages import Page
from stream.ledger.publishing import Wanted
from stream.ledger.removing import References
from stream.ledger.requests import Replay, Ticket

__all__ = [
    "STORE",
    "Clock",
    "Lease",
    "LeaseView",
    "Ledger",
    "Page",
    "Quota",
    "References",
    "Replay",
    "Ticket",
    "Wanted",
]
