"""What the page shows, and asking it what images show."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.http.server import RunningServer
from tests.service.pictures import files
from tests.taught import Taught

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def server(taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server without a learner over three learned tasks; no test changes what it has."""
    with RunningServer(taught.copied(tmp_path_factory.mktemp("looked-at") / "data")) as running:
        running.wait_until_ready()
        yield running


def test_it_shows_how_things_stand(server: RunningServer, visit: Visit) -> None:
    page = visit(server)
    expect(page.locator("#standing")).to_contain_text("version 6 serves 6 classes (onnxruntime)")
    assert [row.locator("th").inner_text() for row in page.locator("#versions tbody").all()] == [
        "6",
        "5 provisional",
        "4",
        "3 provisional",
        "2",
        "1 provisional",
    ]
    told = {one["version"]: one for one in server.client.get("/versions").json()["items"]}
    assert (
        page.locator("#versions tbody").first.locator("td").nth(3).inner_text() == f"{100 * told[6]['accuracy']:.1f} %"
    )
    expect(page.locator("#versions tbody.force th")).to_have_text("6")
    expect(page.locator("#versions figure svg")).to_have_attribute(
        "aria-label", "Accuracy: version 2 100.0 %, version 4 100.0 %, version 6 100.0 %"
    )
    expect(page.locator("#tasks li")).to_have_count(3)
    # Each in a direction of its own, so that one from right to left turns nothing beside it.
    expect(page.locator("#classes li bdi")).to_have_text([*"012345"])
    expect(page.locator("#log li").first).to_contain_text("serving: version 6, before it 5")


def test_an_empty_server_says_what_to_do(visit: Visit, tmp_path: Path, photographs: Path) -> None:
    with RunningServer(tmp_path / "data") as empty:
        page = visit(empty, "503")
        expect(page.locator("#standing")).to_have_text("there is no version yet · no learner")
        expect(page.locator("#versions .none")).to_contain_text("Teach something")
        expect(page.locator("#classes .none")).to_have_text("No class is in force.")
        page.get_by_label("Images (you may also drop or paste them here)").set_input_files(photographs / "0.png")
        expect(page.locator("#asking .answer")).to_contain_text("version")


def test_every_field_and_button_has_a_name(server: RunningServer, visit: Visit) -> None:
    page = visit(server)
    expect(page.locator("#versions tbody")).to_have_count(6)
    page.get_by_role("button", name="More of version 6").click()
    nameless = page.evaluate(
        "[...document.querySelectorAll('input, select, button, meter, progress, img')]"
        ".filter((one) => !one.labels?.length && !one.textContent.trim() && !one.ariaLabel && !one.hasAttribute('alt'))"
        ".map((one) => one.outerHTML)"
    )
    assert nameless == []


@pytest.mark.parametrize("width", [360, 800])
def test_nothing_hangs_over_on_a_small_screen(server: RunningServer, visit: Visit, width: int) -> None:
    page = visit(server)
    page.set_viewport_size({"width": width, "height": 800})
    page.get_by_role("button", name="More of version 6").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_what_did_not_change_is_not_written_again(server: RunningServer, visit: Visit) -> None:
    page = visit(server)
    expect(page.locator("#versions tbody")).to_have_count(6)
    # How long nothing was heard of the learner may well change meanwhile.
    page.evaluate(
        """() => {
            const standing = document.getElementById("standing");
            let last = standing.textContent;
            window.again = 0;
            new MutationObserver((all) => {
                for (const one of all) {
                    const changed = standing.contains(one.target) && standing.textContent !== last;
                    last = standing.textContent;
                    if (!changed) window.again += 1;
                }
            }).observe(document.body, { subtree: true, childList: true, characterData: true });
        }"""
    )
    for _ in range(2):
        with page.expect_response("**/tasks?*"):
            pass
    assert page.evaluate("window.again") == 0


def test_images_are_asked_about_and_each_answer_is_the_servers(
    server: RunningServer, visit: Visit, photographs: Path
) -> None:
    page = visit(server)
    page.get_by_label("Images (you may also drop or paste them here)").set_input_files(
        [photographs / f"{n}.png" for n in (0, 3)]
    )
    expect(page.locator(".predictions > li")).to_have_count(2)
    for digit, shown in zip((0, 3), page.locator(".predictions > li").all(), strict=True):
        said = server.client.post("/predict", files=files((photographs / f"{digit}.png").read_bytes())).json()
        first = said["predictions"][0]
        expect(shown.locator(".first")).to_contain_text(first["label"])
        expect(shown).to_contain_text(f"{100 * first['score']:.1f} %, says version 6")
        assert shown.locator("img").evaluate("(one) => one.decode().then(() => one.naturalWidth)") == 8
        assert shown.locator(".bar span").evaluate_all("(all) => all.map((one) => one.textContent)")[::2] == [
            one["label"] for one in first["top"]
        ]


def test_another_version_is_asked_about_the_same_images(server: RunningServer, visit: Visit, photographs: Path) -> None:
    page = visit(server)
    page.get_by_label("Images (you may also drop or paste them here)").set_input_files(photographs / "5.png")
    expect(page.locator(".predictions > li")).to_contain_text("says version 6")
    page.locator("#asking select").select_option("version 2 (final)")
    expect(page.locator(".predictions > li")).to_contain_text("says version 2")
    assert page.locator(".predictions .bar").count() == 2


def test_what_is_no_image_is_said_to_be_none(server: RunningServer, visit: Visit, tmp_path: Path) -> None:
    page = visit(server, "415")
    (tmp_path / "letter.png").write_text("Dear all,")
    page.get_by_label("Images (you may also drop or paste them here)").set_input_files(tmp_path / "letter.png")
    expect(page.locator("#asking .answer")).to_contain_text("letter.png")
    expect(page.locator(".predictions > li")).to_have_count(0)


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_dropped_and_pasted_images_are_asked_about(
    server: RunningServer, visit: Visit, photographs: Path, way: str
) -> None:
    page = visit(server)
    expect(page.locator("#versions tbody")).to_have_count(6)
    data = page.evaluate_handle(
        "(bytes) => { const all = new DataTransfer();"
        " all.items.add(new File([new Uint8Array(bytes)], '2.png', { type: 'image/png' })); return all; }",
        list((photographs / "2.png").read_bytes()),
    )
    if way == "drop":
        page.dispatch_event("#asking", "drop", {"dataTransfer": data})
    else:
        page.evaluate("(data) => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }))", data)
    expect(page.locator(".predictions > li img")).to_have_attribute("alt", "2.png")


@pytest.mark.parametrize("form", ["onnx", "safetensors"])
def test_a_version_is_exported_under_the_servers_own_name(server: RunningServer, visit: Visit, form: str) -> None:
    page = visit(server)
    page.get_by_role("button", name="More of version 6").click()
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Export as {form}").click()
    told = server.client.head("/versions/6/export", params={"format": form}).headers["content-disposition"]
    assert told == f'attachment; filename="{download.value.suggested_filename}"'
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None and any(name.endswith(f".{form}") for name in archive.namelist())


def test_classes_are_found_by_a_part_of_their_name(server: RunningServer, visit: Visit) -> None:
    page = visit(server)
    page.get_by_label("Find").fill("3")
    expect(page.locator("#classes li")).to_have_count(1)
    expect(page.locator("#classes .none")).to_have_text("1 of 6 classes")


def test_a_server_that_never_answers_is_said_not_to(server: RunningServer, visit: Visit) -> None:
    page = visit(server)
    expect(page.locator("#standing")).to_contain_text("version 6 serves")
    silent: list[Route] = []
    page.route("**/readyz", lambda route: silent.append(route))
    expect(page.locator("#trouble")).to_have_text("the server does not answer")
    expect(page.locator("#standing")).to_be_empty()
    page.unroute("**/readyz")
    expect(page.locator("#standing")).to_contain_text("version 6 serves")


def test_a_server_that_goes_away_is_said_to_be_away_and_looked_for(server: RunningServer, visit: Visit) -> None:
    page = visit(server, "ERR_CONNECTION_REFUSED", "503")
    expect(page.locator("#standing")).to_contain_text("version 6 serves")
    server.stop()
    expect(page.locator("#trouble")).to_have_text("the server does not answer")
    server.start()
    expect(page.locator("#trouble")).not_to_have_text("the server does not answer")
    expect(page.locator("#standing")).to_contain_text("version 6 serves")
