"""The page of a server with keys: nothing without one, and with one what its scope allows."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, Route, expect

from everclass.main import cli
from tests.browser.conftest import watched
from tests.http.server import RunningServer
from tests.taught import Taught

Visit = Callable[..., Page]

KNOWN_S = 20.0


@dataclass(frozen=True)
class Locked:
    """A server with keys, by scope."""

    server: RunningServer
    keys: dict[str, str]


@pytest.fixture(scope="module")
def locked(taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    folder = taught.copied(tmp_path_factory.mktemp("locked") / "data")
    keys = {}
    for scope in ("predict", "learn", "admin"):
        words = ["keys", "create", "--name", scope, "--scope", scope, "--data-dir", str(folder), "--json"]
        made = CliRunner().invoke(cli, words)
        assert made.exit_code == 0, made.output
        keys[scope] = json.loads(made.stdout)["key"]
    with RunningServer(folder) as server:
        yield Locked(server, keys)


def enter(page: Page, key: str) -> None:
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Enter").click()


def create(locked: Locked, name: str, *more: str) -> str:
    """A key to learn with, once the running server knows it."""
    folder = str(locked.server.data_dir)
    words = ["keys", "create", "--name", name, "--scope", "learn", "--data-dir", folder, "--json", *more]
    key = str(json.loads(CliRunner().invoke(cli, words).stdout)["key"])
    headers = {"Authorization": f"Bearer {key}"}
    known = lambda: locked.server.client.get("/aliases", headers=headers).status_code == 200  # noqa: E731
    locked.server.wait_for(known, KNOWN_S, f"the key {name} is not known")
    return key


def refusals(locked: Locked) -> int:
    headers = {"Authorization": f"Bearer {locked.keys['admin']}"}
    items = locked.server.client.get("/audit?limit=1000", headers=headers).json()["items"]
    return sum(one["times"] for one in items if one["status"] == 403)


def test_without_a_good_key_there_is_only_the_door(locked: Locked, visit: Visit) -> None:
    page = visit(locked.server, "401")
    expect(page.locator("#door")).to_be_visible()
    expect(page.locator("#house")).to_be_hidden()
    for wrong, said in (("evc_wrong_wrong", "key"), ("nö key", "this is no key of an Everclass server")):
        enter(page, wrong)
        expect(page.locator("#door .answer")).to_contain_text(said)
    expect(page.locator("#house")).to_be_hidden()


def test_an_admin_sees_all_and_leaves_no_trace(locked: Locked, visit: Visit) -> None:
    page = visit(locked.server, "401")
    enter(page, locked.keys["admin"])
    expect(page.locator("#versions tbody")).to_have_count(6)
    expect(page.locator("#log li").first).to_contain_text("serving: version 6")
    page.reload()
    expect(page.locator("#versions tbody")).to_have_count(6)
    stored = page.evaluate("JSON.stringify([{...localStorage}, document.cookie, location.href])")
    assert locked.keys["admin"] not in stored
    page.get_by_role("button", name="Forget my key").click()
    expect(page.locator("#door")).to_be_visible()
    assert page.locator("#versions tbody, #log li, #tasks li, #classes li").count() == 0
    page.reload()
    expect(page.locator("#door")).to_be_visible()


@pytest.mark.parametrize("scope", ["predict", "learn"])
def test_a_smaller_key_sees_less_and_is_not_refused_every_two_seconds(locked: Locked, visit: Visit, scope: str) -> None:
    before = refusals(locked)
    page = visit(locked.server, "401", "403")
    enter(page, locked.keys[scope])
    expect(page.locator("#versions tbody")).to_have_count(6)
    expect(page.locator("#log .none")).to_have_text("A key with the scope admin sees the log.")
    expect(page.get_by_role("button", name="Serve")).to_have_count(0)
    expect(page.get_by_role("button", name="Forget 1")).to_have_count(0)
    expect(page.locator("#teaching")).to_be_visible(visible=scope == "learn")
    expect(page.locator("#tasks li")).to_have_count(3 if scope == "learn" else 0)
    with page.expect_response("**/readyz"):
        pass
    with page.expect_response("**/readyz"):
        pass
    # A page of a key without learn is refused tasks and log, once each.
    once = before + (1 if scope == "learn" else 2)
    locked.server.wait_for(lambda: refusals(locked) >= once, KNOWN_S, "the refusals are not in the audit log")
    assert refusals(locked) == once


def test_a_key_that_is_revoked_opens_nothing_any_more(locked: Locked, visit: Visit, photographs: Path) -> None:
    page = visit(locked.server, "401", "403")
    enter(page, create(locked, "guest"))
    page.get_by_label("Images (you may also drop or paste them here)").set_input_files(photographs / "0.png")
    page.locator("#teaching").get_by_label("Class", exact=True).fill("a secret")
    expect(page.locator(".predictions > li")).to_have_count(1)
    folder = str(locked.server.data_dir)
    assert CliRunner().invoke(cli, ["keys", "revoke", "guest", "--data-dir", folder]).exit_code == 0
    expect(page.locator("#door")).to_be_visible()
    expect(page.locator("#door .answer")).to_contain_text("key")
    assert page.locator("#versions tbody, #classes li, .predictions > li").count() == 0
    enter(page, locked.keys["learn"])
    expect(page.locator("#versions tbody")).to_have_count(6)
    assert page.locator("#teaching").get_by_label("Class", exact=True).input_value() == ""
    assert page.locator("#asking [name=images]").evaluate("(one) => one.files.length") == 0
    assert page.locator(".predictions > li").count() == 0


def test_a_server_that_fails_at_first_lets_one_in_later(locked: Locked, visit: Visit) -> None:
    page = visit(locked.server, "401", "403", "503")
    failed: list[Route] = []

    def once(route: Route) -> None:
        failed.append(route)
        route.fulfill(status=503, body="<p>a proxy says no") if len(failed) == 1 else route.continue_()

    page.route(
        "**/tasks?*", lambda route: once(route) if "authorization" in route.request.headers else route.continue_()
    )
    enter(page, locked.keys["learn"])
    expect(page.locator("#versions tbody")).to_have_count(6)
    assert len(failed) >= 2


def test_a_key_of_a_low_rate_is_let_in_slowly(locked: Locked, visit: Visit) -> None:
    page = visit(locked.server, "401", "403", "429")
    enter(page, create(locked, "slow", "--rate", "1"))
    expect(page.locator("#versions tbody")).to_have_count(6)


@contextmanager
def proxied(server: RunningServer) -> Iterator[str]:
    """A proxy that has the server under every path of one part, such as `/a/`; its address."""

    class Forwards(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name: self.headers[name] for name in ("Authorization",) if name in self.headers}
            reply = server.client.get("/" + self.path.split("/", 2)[2], headers=headers)
            self.send_response(reply.status_code)
            for name in ("Content-Type", "Content-Security-Policy"):
                if name in reply.headers:
                    self.send_header(name, reply.headers[name])
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Forwards) as proxy:
        thread = Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}"
        finally:
            proxy.shutdown()
            thread.join()


def test_behind_a_proxy_each_server_has_a_key_of_its_own(locked: Locked, browser: Browser) -> None:
    with proxied(locked.server) as url, watched(browser, f"{url}/a/", ("401", "403")) as page:
        enter(page, locked.keys["learn"])
        expect(page.locator("#versions tbody")).to_have_count(6)
        shown: list[str | None] = []
        page.on("request", lambda request: shown.append(request.headers.get("authorization")))
        page.goto(f"{url}/b/")
        expect(page.locator("#door")).to_be_visible()
        assert shown and not any(shown)
        page.goto(f"{url}/a/")
        expect(page.locator("#versions tbody")).to_have_count(6)
