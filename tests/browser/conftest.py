"""A real browser (Chromium) that looks at the web page of real servers.

Every page that a test opens must stay clean: nothing on its console, no error, no word to any other place.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests import digits

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync")
TIMEOUT_MS = 30_000

expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window, and no longer than a module: Playwright's loop runs in the thread of all tests."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("needs Chromium on the path")
    flags = [*FLAGS, *(["--no-sandbox"] if os.getuid() == 0 else [])]
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=found, args=flags) as launched:
        yield launched


@contextmanager
def watched(browser: Browser, url: str, expected: tuple[str, ...]) -> Iterator[Page]:
    """A page in a tab of its own, at the server's front door. What is `expected` may be said on its console."""
    wrong: list[str] = []

    def said(text: str) -> None:
        if not any(one in text for one in expected):
            wrong.append(text)

    def asked(address: str) -> None:
        if urlsplit(address).scheme != "blob" and urlsplit(address).netloc != urlsplit(url).netloc:
            wrong.append(address)

    with browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 1600}) as context:
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.on("console", lambda message: said(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked(request.url))
        page.goto(url)
        yield page
        assert not wrong, wrong


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """`visit(server, *expected)` opens the page of a server; when the test ends it must have stayed clean."""
    with ExitStack() as stack:
        yield lambda server, *expected: stack.enter_context(watched(browser, f"{server.url}/", expected))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten pictures that nobody learned, `0.png` to `9.png`."""
    folder = tmp_path_factory.mktemp("photographs")
    for digit in range(10):
        (folder / f"{digit}.png").write_bytes(digits.pngs(digit)[20])
    return folder
