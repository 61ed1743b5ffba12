"""The page of a server with keys: nothing without one, and with one what its scope allows."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from click.testing import CliRunner
from playwright.sync_api import Page, expect

from everclass.main import cli
from tests.http.server import RunningServer
from tests.taught import Taught

Visit = Callable[..., Page]


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
    assert refusals(locked) - before == (1 if scope == "learn" else 2)


def test_a_key_that_is_revoked_opens_nothing_any_more(locked: Locked, visit: Visit) -> None:
    folder = str(locked.server.data_dir)
    made = CliRunner().invoke(
        cli, ["keys", "create", "--name", "guest", "--scope", "learn", "--data-dir", folder, "--json"]
    )
    page = visit(locked.server, "401", "403")
    enter(page, json.loads(made.stdout)["key"])
    expect(page.locator("#versions tbody")).to_have_count(6)
    assert CliRunner().invoke(cli, ["keys", "revoke", "guest", "--data-dir", folder]).exit_code == 0
    expect(page.locator("#door")).to_be_visible()
    assert page.locator("#versions tbody, #classes li").count() == 0
