"""The real server and its keys: every call with every kind of key, keys that come and go while it runs, TLS, logs."""

import json
import re
import secrets
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from everclass import Client, NotAllowed
from everclass.main import cli
from service.access.scopes import NEEDS, OPEN
from service.app import make_app
from service.routes import ROUTERS
from service.settings import load_settings
from stream.keys import Scope
from stream.ledger import Ledger
from tests.certificates import self_made_certificate
from tests.http.server import RunningServer, free_port, variable
from tests.service.access.keys import shown

CALLS = sorted(
    f"{method} {route.path_format}"
    for router in ROUTERS
    for route in router.routes
    for method in route.methods - {"HEAD"}
)
NO_KEY = "no key"
MALFORMED = ("", "Bearer", "Basic YW5uOmE=", "Bearer a b", "Token x", "Bearer \xe9", "Bearer " + "x" * 600)
SCOPES = tuple(str(scope) for scope in Scope)
WITHIN_S = 20.0


def keys(folder: Path, *words: str) -> dict[str, object]:
    """What `everclass keys … --json` says for this data folder."""
    done = CliRunner().invoke(cli, ["keys", *words, "--data-dir", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def create(folder: Path, name: str, scope: str, *more: str) -> str:
    return str(keys(folder, "create", "--name", name, "--scope", scope, *more)["key"])


@dataclass(frozen=True)
class World:
    """A server without versions, and the headers of each kind of key."""

    server: RunningServer
    headers: Mapping[str, dict[str, str]]
    tokens: tuple[str, ...]

    def ask(self, call: str, headers: Mapping[str, str]) -> httpx.Response:
        method, path = call.split()
        place = re.sub(r"\{\w+\}", "9", path)
        named = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        reply = self.server.client.request(method, place, headers=named, content=b"")
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert reply.headers["cache-control"] == "no-store"
        return reply


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("keys") / "data"
    file_token = secrets.token_urlsafe(40)
    admin_file = folder.parent / "admin.key"
    admin_file.write_text(file_token)
    admin_file.chmod(0o600)
    tokens = {scope: create(folder, f"a {scope}", scope) for scope in SCOPES}
    tokens["revoked"] = create(folder, "gone", "admin")
    keys(folder, "revoke", "gone")
    tokens["expired"] = create(folder, "old", "admin", "--expires", "1m")
    make_older(folder, "old")
    tokens["wrong"] = f"evc_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
    tokens["file"] = file_token
    headers = {kind: shown(token) for kind, token in tokens.items()}
    with RunningServer(folder, settings={"keys.admin_file": admin_file}) as server:
        yield World(server, {NO_KEY: {}, **headers}, tuple(tokens.values()))


def make_older(folder: Path, name: str) -> None:
    """Let the life of a key be over."""
    ledger = Ledger.open(f"sqlite:///{folder}/everclass.db")
    with ledger._database.write() as connection:
        past = (datetime.now(UTC) - timedelta(days=1)).isoformat(timespec="microseconds").replace("+00:00", "Z")
        connection.exec_driver_sql(f"UPDATE keys SET expires_at = '{past}' WHERE name = '{name}'")
    ledger.close()


def test_every_call_of_the_server_has_a_declared_scope(tmp_path: Path) -> None:
    assert set(NEEDS) == set(CALLS)
    paths = make_app(load_settings({"data_dir": tmp_path}).settings).app.openapi()["paths"]
    described = {f"{method.upper()} {path}": call for path, item in paths.items() for method, call in item.items()}
    assert set(described) == set(CALLS) - {"GET /docs", "GET /openapi.json", "GET /", "GET /web/{name}"}
    for call, operation in described.items():
        needs = NEEDS[call]
        assert operation["security"] == ([] if needs == OPEN else [{"key": [str(needs)]}]), call
        assert {"403"} <= set(operation["responses"]), call
        assert needs == OPEN or {"401", "429"} <= set(operation["responses"]), call


@pytest.mark.parametrize("call", CALLS)
def test_who_may_call(world: World, call: str) -> None:
    needs = NEEDS[call]
    for kind in (NO_KEY, "wrong", "expired", "revoked"):
        reply = world.ask(call, world.headers[kind])
        assert (reply.status_code == 401) == (needs != OPEN), (kind, reply.text)
        if needs != OPEN:
            wanted = 'Bearer realm="everclass"' + ("" if kind == NO_KEY else ', error="invalid_token"')
            assert reply.headers["www-authenticate"] == wanted
            assert_problem(reply, 401)
    for value in MALFORMED:
        reply = world.ask(call, {"Authorization": value})
        assert (reply.status_code == 401) == (needs != OPEN), (value, reply.text)
    for kind in (*SCOPES, "file"):
        scope = Scope.ADMIN if kind == "file" else Scope(kind)
        reply = world.ask(call, world.headers[kind])
        allowed = needs == OPEN or scope.includes(Scope(needs))
        assert reply.status_code != 401, (kind, reply.text)
        assert (reply.status_code != 403) == allowed, (kind, reply.text)
        assert reply.status_code < 500 or (call, reply.status_code) in (("GET /readyz", 503), ("POST /predict", 503))
        if not allowed:
            assert_problem(reply, 403)
            assert f'error="insufficient_scope", scope="{needs}"' in reply.headers["www-authenticate"]
            assert f"needs a key of scope {needs}" in reply.json()["detail"]


def test_two_keys_in_one_request_are_none(world: World) -> None:
    twice = [("Authorization", world.headers["admin"]["Authorization"])] * 2
    assert world.server.client.get("/versions", headers=twice).status_code == 401


@pytest.mark.parametrize(
    "line",
    [
        "GET //tasks",
        "GET /tasks/",
        "GET /livez/../tasks",
        "GET /livez%2f..%2ftasks",
        "GET /%74asks",
        "GET /LIVEZ",
        "GET http://localhost/tasks",
        "HEAD /tasks",
        "OPTIONS *",
        "TRACE /tasks",
        "PROPFIND /tasks",
    ],
)
def test_no_way_of_writing_a_request_gets_past_the_door(world: World, line: str) -> None:
    with socket.create_connection(("127.0.0.1", world.server.port), timeout=10) as connection:
        connection.sendall(f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert connection.makefile("rb").readline().split()[1] == b"401"


def test_a_call_for_a_web_socket_is_answered_and_noted_like_any_other(world: World) -> None:
    asked = "GET /tasks HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
    asked += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    wrong = {"Authorization": f"Bearer {world.tokens[0]}x"}
    for headers, status in ((world.headers["learn"], b"200"), (wrong, b"401")):
        with socket.create_connection(("127.0.0.1", world.server.port), timeout=10) as connection:
            said = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            connection.sendall(f"{asked}{said}\r\n".encode())
            assert connection.makefile("rb").readline().split()[1] == status


def test_a_body_of_two_lengths_is_refused_and_the_connection_closed(world: World) -> None:
    """What comes after the shorter one would be a request of its own to whoever goes by the other."""
    asked = "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n"
    key = world.headers["learn"]["Authorization"]
    for named in (f"Authorization: {key}\r\n", ""):
        with socket.create_connection(("127.0.0.1", world.server.port), timeout=10) as connection:
            connection.sendall(f"{asked}{named}\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answers = connection.makefile("rb").read()
        assert answers.split()[1] == b"400" and b"Content-Length and Transfer-Encoding" in answers
        assert answers.count(b"HTTP/1.1") == 1


def assert_problem(reply: httpx.Response, status: int) -> None:
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")
    assert reply.json()["status"] == status


def test_no_token_stands_in_a_log_or_in_the_data_folder(world: World) -> None:
    for token in world.tokens:
        world.server.client.get("/nowhere", headers=shown(token))
        world.server.client.post("/tasks", headers=shown(token), content=b"{")
    world.server.wait_for(lambda: _refusals(world), WITHIN_S, "the refusals are not written")
    said = world.server.output().encode()
    stored = [path.read_bytes() for path in world.server.data_dir.rglob("*") if path.is_file()]
    for token in world.tokens:
        secret = token.split("_", 2)[-1].encode() if token.startswith("evc_") else token.encode()
        assert secret not in said
        assert not any(secret in content for content in stored)


def _refusals(world: World) -> bool:
    items = world.server.client.get("/audit?limit=1000", headers=world.headers["admin"]).json()["items"]
    return any(line["status"] == 401 and line["name"] == "gone" for line in items)


def test_the_client_shows_its_key_and_says_what_is_missing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [learn, admin] = [world.headers[kind]["Authorization"].split()[1] for kind in ("learn", "admin")]
    with Client(world.server.url, key=learn) as client:
        assert list(client.tasks()) is not None
        with pytest.raises(NotAllowed, match=r"\(403\): this call needs a key of scope admin"):
            list(client.promotions())
    monkeypatch.setenv("EVERCLASS_KEY", admin)
    with Client(world.server.url) as client:
        assert next(client.audit()).method
    monkeypatch.delenv("EVERCLASS_KEY")
    key_file = tmp_path / "key"
    key_file.write_text(admin + "\n")
    url = ["--url", world.server.url]
    listed = CliRunner().invoke(cli, ["audit", "--limit", "2", "--key-file", str(key_file), *url])
    assert (listed.exit_code, admin in listed.output, "route" in listed.output) == (0, False, True)
    few = CliRunner().invoke(cli, ["audit", "--limit", "2", "--json", *url], env={"EVERCLASS_KEY_FILE": str(key_file)})
    assert len(json.loads(few.stdout)) == 2
    refused = CliRunner().invoke(cli, ["promotions", *url], env={"EVERCLASS_KEY": learn})
    assert (refused.exit_code, learn in refused.output) == (8, False)
    key_file.write_text("two keys")
    wrong = CliRunner().invoke(cli, ["promotions", "--key-file", str(key_file), *url])
    assert (wrong.exit_code, "has to hold one key" in wrong.output) == (2, True)


def test_keys_come_and_go_in_every_worker_without_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with RunningServer(folder) as one, RunningServer(folder) as other:
        both = (one, other)
        assert [server.client.get("/versions").status_code for server in both] == [200, 200]
        assert one.client.get("/versions", headers={"Origin": "https://evil.example"}).status_code == 403
        headers = shown(create(folder, "ann", "learn"))
        for server in both:
            waited = until_status(server, {}, 401)
            assert server.client.get("/versions", headers=headers).status_code == 200, waited
        key = one.client.post("/tasks", headers=headers, json={}).json()
        assert other.client.get(f"/tasks/{key['id']}", headers=headers).json()["by"] == "ann"
        keys(folder, "revoke", "ann")
        for server in both:
            until_status(server, headers, 401)
    [listed] = keys(folder, "list")["items"]
    assert listed["state"] == "revoked"
    assert listed["last_used_at"] is not None


def until_status(server: RunningServer, headers: Mapping[str, str], status: int) -> float:
    began = time.monotonic()
    server.wait_for(
        lambda: server.client.get("/versions", headers=headers).status_code == status, WITHIN_S, f"no {status}"
    )
    return time.monotonic() - began


def test_with_a_key_the_server_may_be_open_to_others_and_speak_tls(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    certificate, private_key = self_made_certificate(tmp_path)
    token = create(folder, "ann", "predict")
    key_file = tmp_path / "key"
    key_file.write_text(token)
    trusted = ssl.create_default_context(cafile=str(certificate))
    port = free_port()
    files = ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(private_key)]
    command = [sys.executable, "-m", "everclass.main", "serve", "--no-learner", "--host", "0.0.0.0", *files]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)} | {
        variable(name): str(value) for name, value in {"data_dir": folder, "port": port, "limits.header_s": 3}.items()
    }
    root = Path(__file__).resolve().parents[2]
    log = (tmp_path / "log").open("w+")
    with subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log) as process:
        try:
            with httpx.Client(base_url=f"https://localhost:{port}", verify=trusted, timeout=10) as client:
                end = time.monotonic() + WITHIN_S * 2
                while not _live(client):
                    assert time.monotonic() < end, Path(log.name).read_text()
                    time.sleep(0.1)
                assert client.get("/versions").status_code == 401
                assert client.get("/versions", headers=shown(token)).status_code == 200
                asked = ["versions", "--json", "--key-file", str(key_file), "--url", f"https://localhost:{port}"]
                trusting = CliRunner().invoke(cli, asked, env={"SSL_CERT_FILE": str(certificate)})
                assert (trusting.exit_code, trusting.stdout.strip()) == (0, "[]")
                assert CliRunner().invoke(cli, [*asked, "--timeout", "1"]).exit_code == 3
                while "listens on https://0.0.0.0" not in Path(log.name).read_text():
                    assert time.monotonic() < end, Path(log.name).read_text()
                    time.sleep(0.1)
            with pytest.raises(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/livez")
            assert _is_let_go(port), "whoever begins no handshake holds a connection"
        finally:
            process.terminate()
            process.wait(60)
            log.close()


def _is_let_go(port: int) -> bool:
    """Whether a client that says nothing is cut off, long before asyncio's own minute for a handshake is over."""
    with socket.create_connection(("127.0.0.1", port)) as idle:
        idle.settimeout(30)
        try:
            return idle.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def _live(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").status_code == 200
    except httpx.TransportError:
        return False
