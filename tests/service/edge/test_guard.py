"""Without keys only this machine, and no foreign page, may use the server."""

import pytest

from service.address import is_loopback
from service.edge.guard import host_name, objection
from tests.service.asgi import scope


def status(request: dict[str, object]) -> int:
    problem = objection(request)
    return 200 if problem is None else problem.status


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:3000", "127.0.0.1:80", "[::1]:3000", "[::1]"])
def test_this_machine_by_its_own_names_is_let_in(host: str) -> None:
    assert status(scope(headers={"host": host})) == 200


@pytest.mark.parametrize(
    "host", ["", "example.org", "127.0.0.1.example.org", "localhost.", "[::2]:3000", "localhost:x"]
)
def test_other_names_are_refused(host: str) -> None:
    problem = objection(scope(headers={"host": host}))
    assert problem is not None
    assert (problem.status, "without keys" in problem.detail) == (403, True)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://example.org"},
        {"origin": "http://localhost:9999"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_origins_are_refused(headers: dict[str, str]) -> None:
    assert status(scope(headers=headers)) == 403


@pytest.mark.parametrize(
    "headers", [{"origin": "http://localhost:3000"}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}]
)
def test_own_pages_and_typed_addresses_are_let_in(headers: dict[str, str]) -> None:
    assert status(scope(headers=headers)) == 200


def test_what_arrives_at_another_address_is_refused_whatever_it_calls_itself() -> None:
    assert status({**scope(), "server": ("192.168.1.7", 3000)}) == 403


def test_addresses_of_this_machine_are_known() -> None:
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.8.8.8", "::1", "/run/socket"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "example.org"]))
    assert host_name("Host.Example:80") == "host.example"
