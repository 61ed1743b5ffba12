"""Keys for tests: made in the ledger of an application that runs in this process, and known to it at once."""

from collections.abc import Mapping

from starlette.testclient import TestClient

from stream.keys import NewKey, Scope


def make(client: TestClient, name: str, scope: str, **more: object) -> dict[str, str]:
    """A key of the application behind `client`, as the header that shows it."""
    assembly = client.app_state.assembly
    _, token = assembly.ledger.create_key(NewKey(name, Scope(scope), **more))
    assembly.access.ring.refresh()
    return shown(token)


def shown(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def log(client: TestClient, key: Mapping[str, str]) -> list[dict[str, object]]:
    """The audit log, oldest first."""
    items = client.get("/audit?limit=1000", headers=key).json()["items"]
    return list(reversed(items))
