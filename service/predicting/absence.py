"""Why no version answers, in a sentence for whoever asks for predictions."""

from service.predicting.following import Follower
from stream.ledger import Ledger
from stream.versions import VersionState


def why_none(follower: Follower, ledger: Ledger) -> str:
    """Why this worker has no version that answers. Raises Unavailable where the database has to say so and does not."""
    if follower.broken is not None:
        return follower.broken
    if follower.failure is not None:
        return f"the version in force cannot be loaded: {follower.failure.reason}"
    serving = ledger.serving()
    return nothing_in_force(ledger) if serving is None else f"version {serving.version} is being loaded"


def nothing_in_force(ledger: Ledger) -> str:
    """Why `serving` points at nothing: there is no version, or a person has to promote one. Raises Unavailable."""
    versions = ledger.versions_by_state()
    if not any(versions.values()):
        return "there is no version yet"
    held = versions[VersionState.HELD]
    if held:
        return "no version is in force; " + ("1 is held: promote it" if held == 1 else f"{held} are held: promote one")
    damaged = versions[VersionState.DAMAGED]
    return "no version is in force" + (f"; {damaged} cannot serve: damaged" if damaged else "")
