"""What is looked at before a server's processes start: methods, runtime, device, database, blobs, weights."""

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor

from service.orphans import die_with_parent
from service.settings import Settings


def check_start(settings: Settings, *, learns: bool) -> None:
    """Raises for what a server, one that `learns` or only answers, could not work with.

    Raises:
        WrongSettings: a setting names what there is not or what does not fit.
        Unavailable, StorageFull: the database does not answer, or there is no room.
        Conflict: another machine uses the database.
    """
    from service.offered import check_offered, check_weights
    from service.stores import check_stores

    check_offered(settings, learns=learns)
    check_stores(settings)
    if learns:
        check_weights(settings)


def check_start_apart(settings: Settings, *, learns: bool) -> None:
    """As `check_start`, in a process that then ends, for one that stays for long and needs none of it.

    What knows the database would keep 50 MB there, what knows the methods 400.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=_belong_to, initargs=(os.getpid(),)) as apart:
        apart.submit(check_start, settings, learns=learns).result()


def _belong_to(parent: int) -> None:
    """End with the parent; what Ctrl-C means is for the parent to say, to whom the terminal sends it too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent)
