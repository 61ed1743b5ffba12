"""The database and the blobs that the settings name, opened; what is wrong with a place is told by its setting."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from service.settings import Settings, WrongSettings
from stream import blobs, files
from stream.blobs import Blobs, FolderBlobs
from stream.errors import Unavailable
from stream.ledger import Ledger


def open_ledger(settings: Settings, *, make: bool = True) -> Ledger:
    """The ledger in the database of the settings, its tables made (unless `make` is False) or brought up to date.

    Raises:
        NoLedger: there is none yet and none is to be made.
        WrongSettings: there can be no database of ours.
        Unavailable, StorageFull: it does not answer, or there is no room.
    """
    with database_errors(settings):
        return Ledger.open(
            settings.database,
            quota=settings.limits.quota(),
            keys_kept_h=settings.retention.idempotency_hours,
            make=make,
        )


def open_blobs(settings: Settings) -> Blobs:
    """The blobs of the settings. Raises WrongSettings where none can be kept there; whether S3 answers is not asked."""
    with _errors("data_dir" if settings.blobs_url is None else "blobs_url"):
        store = blobs.open_blobs(settings.blobs, settings.cache / "blobs")
        if isinstance(store, FolderBlobs):
            files.check_writable(store.root)
        return store


def check_stores(settings: Settings) -> None:
    """Open and close what a server needs, before its processes do. Raises as `open_ledger` and `open_blobs`."""
    with _errors("data_dir"):
        files.make_folder(settings.root)
        files.check_writable(settings.root)
    open_blobs(settings)
    open_ledger(settings).close()


@contextmanager
def database_errors(settings: Settings) -> Iterator[None]:
    """Turn what opening the database raises into WrongSettings, or into an Unavailable that names the setting."""
    with _errors("data_dir" if settings.database_url is None else "database_url"):
        yield


@contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)} cannot be used: "
        raise WrongSettings(f"{name}: {place}{error.strerror or error}") from error
    except ValueError as error:
        raise WrongSettings(f"{name}: {error}") from error
    except Unavailable as error:
        raise Unavailable(f"{name}: {' '.join(str(error).split())}") from error
