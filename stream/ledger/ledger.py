"""The ledger as one thing: every call on it is one transaction, and may come from any thread or process."""

from datetime import timedelta

from stream.ledger.audit import Audit
from stream.ledger.cancelling import Cancelling
from stream.ledger.copying import Copying
from stream.ledger.counting import Counting
from stream.ledger.database import Clock, Database, utc_now
from stream.ledger.forgetting import Forgetting
from stream.ledger.intake import Intake, Quota
from stream.ledger.keys import Keys
from stream.ledger.learning import Learning
from stream.ledger.leases import Leases
from stream.ledger.migrations import migrate
from stream.ledger.promotions import Promotions
from stream.ledger.publishing import Publishing
from stream.ledger.reading import Reading
from stream.ledger.removing import Removing
from stream.ledger.requests import KEPT_H, Requests
from stream.ledger.runtimes import Runtimes


class Ledger:
    """Tasks, versions, promotions and leases in one database; each call is described where it is written.

    Any call may raise Unavailable or StorageFull; nothing is changed then.
    """

    def __init__(self, database: Database, quota: Quota, keys_kept_h: float) -> None:
        self._database = database
        self.is_sqlite = database.is_sqlite
        self._offer_access(database, keys_kept_h)
        self._offer_tasks(database, quota)
        self._offer_versions(database)
        self._offer_the_whole(database)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        clock: Clock = utc_now,
        quota: Quota | None = None,
        keys_kept_h: float = KEPT_H,
        make: bool = True,
    ) -> "Ledger":
        """The ledger in the database at `url`: `sqlite:///FILE` or `postgresql://…`.

        Its tables are made (unless `make` is False) or brought up to date first; of several processes that open it at
        once, one does so and the others wait. `keys_kept_h`: hours that an idempotency key is remembered.

        Raises:
            ValueError: a URL of another kind, or what is there can be no database of ours.
            NoLedger: there is none yet and none is to be made; nothing was.
            Unavailable, StorageFull: the database cannot be reached or written.
        """
        database = Database(url, clock, make=make)
        try:
            database.connect()
            if not make:
                database.check_made()
            with database.write() as connection:
                migrate(connection)
        except BaseException:
            database.close()
            raise
        return cls(database, quota or Quota(), keys_kept_h)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def _offer_access(self, database: Database, keys_kept_h: float) -> None:
        """Who asks: requests done once, keys, the audit log."""
        requests = Requests(database, timedelta(hours=keys_kept_h))
        self.begin_request = requests.begin
        self.abandon_request = requests.abandon
        self.return_request_keys = requests.return_keys

        keys = Keys(database)
        self.create_key = keys.create
        self.all_keys = keys.all
        self.key_changes = keys.changes
        self.revoke_key = keys.revoke
        self.note_key_uses = keys.note_uses
        self.check_images = keys.check_images

        audit = Audit(database)
        self.record_audit = audit.record
        self.audit = audit.page
        self.forget_audit = audit.forget

    def _offer_tasks(self, database: Database, quota: Quota) -> None:
        """What is to be done: from intake to a result, or given up."""
        intake = Intake(database, quota)
        self.check_room = intake.check_room
        self.create_task = intake.create_task
        self.add_batch = intake.add_batch
        self.commit_task = intake.commit_task

        cancelling = Cancelling(database, quota)
        self.cancel = cancelling.cancel
        self.retry = cancelling.retry
        self.purge_images = cancelling.purge_images
        self.expire_open_tasks = cancelling.expire_open_tasks

        forgetting = Forgetting(database, quota)
        self.forget = forgetting.forget
        self.purge_class = forgetting.purge_class
        self.purged_images = forgetting.purged_images

        learning = Learning(database)
        self.claim = learning.claim
        self.freeze = learning.freeze
        self.report = learning.report
        self.save_checkpoint = learning.save_checkpoint
        self.checkpoint = learning.checkpoint
        self.finish = learning.finish
        self.fail = learning.fail
        self.hand_back = learning.hand_back

    def _offer_versions(self, database: Database) -> None:
        """What came of it: versions, what serves, and what goes."""
        publishing = Publishing(database)
        self.publish = publishing.publish
        self.add_root = publishing.add_root
        self.mark_damaged = publishing.mark_damaged
        self.heal = publishing.heal

        moves = Promotions(database)
        self.serving = moves.serving
        self.aliases = moves.aliases
        self.classes_in_force = moves.classes_in_force
        self.promotions = moves.log
        self.promotion = moves.one
        self.promotion_at = moves.at
        self.move_alias = moves.move
        self.remove_alias = moves.remove
        self.rollback_target = moves.rollback_target

        removing = Removing(database)
        self.delete_version = removing.delete_version
        self.sweep_versions = removing.sweep_versions
        self.sweep_images = removing.sweep_images
        self.references = removing.references
        self.open_tasks = removing.open_tasks
        self.image_keys = removing.image_keys
        self.all_image_keys = removing.all_image_keys

        runtimes = Runtimes(database)
        self.graph = runtimes.graph
        self.graph_digests = runtimes.graph_digests
        self.record_graph = runtimes.record_graph
        self.runtime_choice = runtimes.runtime_choice
        self.record_runtime_choice = runtimes.record_runtime_choice

    def _offer_the_whole(self, database: Database) -> None:
        """All of it: read, counted, copied; and who works on it."""
        reading = Reading(database)
        self.task = reading.task
        self.tasks = reading.tasks
        self.items = reading.items
        self.version = reading.version
        self.versions = reading.versions
        self.lineage = reading.lineage
        self.held_out = reading.held_out
        self.trained_on = reading.trained_on

        counting = Counting(database)
        self.counts = counting.counts
        self.versions_by_state = counting.versions_by_state

        copying = Copying(database)
        self.copy_to = copying.copy_to
        self.check_empty = copying.check_empty
        self.history = copying.history

        leases = Leases(database)
        self.acquire_lease = leases.acquire
        self.renew_lease = leases.renew
        self.release_lease = leases.release
        self.check_lease = leases.check
        self.lease = leases.view
        self.leases = leases.views
