"""The page at `/`: made of its own files alone, under a policy that allows nothing else."""

import re

import pytest
from fastapi.testclient import TestClient

from service.routes.pages import FILES

SAFE = {"http://www.w3.org/2000/svg"}
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\bstyle=|\bon\w+=")
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
}


def references(name: str, text: str) -> set[str]:
    """The files of the page that this one loads, by name."""
    if name == "index.html":
        return set(re.findall(r'(?:src|href)="web/([^"]+)"', text))
    return set(re.findall(r'from "\./([^"]+)"', text))


def test_the_page_comes_with_a_policy_that_allows_its_own_files_alone(client: TestClient) -> None:
    for path in ("/", "/web/main.js", "/web/style.css", "/web/icon.svg"):
        reply = client.get(path)
        assert reply.status_code == 200
        assert dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; ")) == POLICY
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cross-origin-opener-policy"] == "same-origin"
    assert client.get("/").headers["content-type"] == "text/html; charset=utf-8"
    assert client.get("/web/main.js").headers["content-type"] == "text/javascript; charset=utf-8"


def test_all_that_the_page_loads_is_served_and_nothing_else_lies_there(client: TestClient) -> None:
    found, waiting = set(), {"index.html"}
    while waiting:
        name = waiting.pop()
        reply = client.get("/" if name == "index.html" else f"/web/{name}")
        assert reply.status_code == 200, name
        found.add(name)
        waiting |= references(name, reply.text) - found
    assert found == set(FILES)


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_file_names_another_place_or_makes_markup_of_data(name: str) -> None:
    text = FILES[name].read_text()
    assert set(re.findall(r"\w+://[^\"' )]+", text)) <= SAFE
    assert not MARKUP.search(text)


@pytest.mark.parametrize("name", ["nothing.js", "index.html", "..%2Fapp.py", "%2e%2e/app.py", "pages.py", ""])
def test_only_files_of_the_page_are_given_out(client: TestClient, name: str) -> None:
    reply = client.get(f"/web/{name}")
    assert (reply.status_code, reply.headers["content-type"]) == (404, "application/problem+json")


def test_what_the_page_does_not_take_is_refused(client: TestClient) -> None:
    assert client.post("/").status_code == 405
    assert client.get("/?theme=dark").status_code == 422
