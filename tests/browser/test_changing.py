"""Teaching, going back, forgetting on a server that really learns. Each test goes on from where the last one ended."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests import digits
from tests.http.server import RunningServer
from tests.taught import Taught

Visit = Callable[..., Page]

NASTY = "<img src=x onerror=alert(1)>"
LEARNED_MS = 90_000


@pytest.fixture(scope="module")
def learning(taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with a learner, after three tasks of two digits each."""
    settings = {
        "backbone": "test_vit",
        "weights": taught.settings.weights,
        "image_size": 32,
        "learn.epochs": 1,
        "learn.min_steps": 4,
        "learn.precision": "fp32",
        "learn.threads": 1,
        "gate.enabled": False,
        "serve.runtime": "onnxruntime",
    }
    folder = taught.copied(tmp_path_factory.mktemp("changed") / "data")
    with RunningServer(folder, learner=True, settings=settings) as running:
        running.wait_until_ready()
        yield running


def pictures(folder: Path, digit: int, count: int = 8) -> list[Path]:
    """Files of one digit, in a folder of its name."""
    place = folder / str(digit)
    place.mkdir(parents=True)
    for number, data in enumerate(digits.pngs(digit)[:count]):
        (place / f"{number}.png").write_bytes(data)
    return sorted(place.iterdir())


def serving(server: RunningServer) -> int:
    return int(server.client.get("/aliases").json()["serving"])


def labels(server: RunningServer) -> set[str]:
    return {one["label"] for one in server.client.get("/classes").json()["items"]}


def test_another_version_is_served_once_it_was_said_what_is_lost(learning: RunningServer, visit: Visit) -> None:
    page = visit(learning)
    page.locator("#versions tbody", has=page.get_by_role("rowheader", name="4", exact=True)).get_by_role(
        "button", name="Serve"
    ).click()
    expect(page.get_by_role("dialog")).to_contain_text("No longer known: 4, 5.")
    page.get_by_role("button", name="Leave it").click()
    assert serving(learning) == 6
    page.locator("#versions tbody", has=page.get_by_role("rowheader", name="4", exact=True)).get_by_role(
        "button", name="Serve"
    ).click()
    page.get_by_label("Reason").fill("worse on fives")
    page.get_by_role("button", name="Serve version 4").click()
    expect(page.locator("#standing")).to_contain_text("version 4 serves 4 classes")
    expect(page.locator("#versions tbody.force th")).to_have_text("4")
    expect(page.locator("#classes li")).to_have_count(4)
    expect(page.locator("#log li").first).to_contain_text("worse on fives")
    assert serving(learning) == 4
    [move] = learning.client.get("/promotions?limit=1").json()["items"]
    assert (move["previous"], move["reason"], move["lost"]) == (6, "worse on fives", ["4", "5"])


def test_nothing_moves_where_somebody_else_was_faster(learning: RunningServer, visit: Visit) -> None:
    page = visit(learning, "409")
    page.locator("#versions tbody", has=page.get_by_role("rowheader", name="6", exact=True)).get_by_role(
        "button", name="Serve"
    ).click()
    expect(page.get_by_role("dialog")).to_contain_text("Known again: 4, 5.")
    assert learning.client.put("/aliases/serving", json={"version": 2}).status_code == 200
    page.get_by_role("button", name="Serve version 6").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("version 2")
    assert serving(learning) == 2
    page.get_by_role("button", name="Leave it").click()
    expect(page.locator("#versions tbody.force th")).to_have_text("2")
    assert learning.client.put("/aliases/serving", json={"version": 6}).status_code == 200


def test_an_alias_is_given_moved_and_removed(learning: RunningServer, visit: Visit) -> None:
    page = visit(learning)
    for number in ("2", "4"):
        row = page.locator("#versions tbody", has=page.get_by_role("rowheader", name=number, exact=True))
        row.get_by_role("button", name="More", exact=True).click()
        row.get_by_role("button", name="Give it an alias").click()
        page.get_by_role("textbox", name="Alias").fill("canary")
        page.get_by_role("button", name="Point it here").click()
        expect(row.get_by_text("canary", exact=True)).to_be_visible()
    assert learning.client.get("/aliases").json() == {"serving": 6, "canary": 4}
    row.get_by_role("button", name="Remove the alias canary").click()
    expect(page.get_by_text("canary", exact=True)).to_have_count(0)
    assert learning.client.get("/aliases").json() == {"serving": 6}


def test_two_classes_are_taught_and_then_known(learning: RunningServer, visit: Visit, tmp_path: Path) -> None:
    page = visit(learning)
    section = page.locator("#teaching")
    for place, (label, digit) in enumerate((("six", 6), (NASTY, 7))):
        if place:
            section.get_by_role("button", name="One more class").click()
        section.get_by_label("Class", exact=True).nth(place).fill(label)
        section.get_by_label("Images", exact=True).nth(place).set_input_files(pictures(tmp_path, digit))
    section.get_by_label("Name of the task").fill("two more")
    section.get_by_role("button", name="Learn").click()
    expect(section.locator(".news")).to_contain_text("16 images of six, <img src=x onerror=alert(1)>, safe on disk")
    task = page.locator("#tasks li").first
    expect(task).to_contain_text("two more")
    expect(task.locator(".badge")).to_have_text("done", timeout=LEARNED_MS)
    expect(page.locator("#standing")).to_contain_text("serves 8 classes")
    expect(page.locator("#classes li", has_text=NASTY)).to_have_count(1)
    assert page.locator("#house img[src=x]").count() == 0
    page.get_by_label("Images (you may also drop or paste them here)").set_input_files(tmp_path / "7" / "3.png")
    expect(page.locator(".predictions > li")).to_contain_text(NASTY)
    assert labels(learning) == {*"012345", "six", NASTY}


def test_a_folder_of_folders_is_taught_for_the_operator_to_promote(
    learning: RunningServer, visit: Visit, tmp_path: Path
) -> None:
    page, section = visit(learning), "#teaching"
    before = serving(learning)
    for digit in (8, 9):
        pictures(tmp_path / "lesson", digit)
    (tmp_path / "lesson" / "8" / ".hidden").write_text("not an image")
    page.get_by_label("a folder with a folder for each class").check()
    page.get_by_label("Folder", exact=True).set_input_files(tmp_path / "lesson")
    page.get_by_label("only make versions; I promote them myself").check()
    page.get_by_role("button", name="Learn", exact=True).click()
    expect(page.locator(f"{section} .news")).to_contain_text("16 images of 8, 9")
    expect(page.locator("#tasks li").first.locator(".badge")).to_have_text("done", timeout=LEARNED_MS)
    assert serving(learning) == before
    newest = page.locator("#versions tbody").first
    expect(newest.get_by_text("held", exact=True)).to_be_visible()


def test_what_the_server_refuses_is_said_and_nothing_is_lost(
    learning: RunningServer, visit: Visit, tmp_path: Path
) -> None:
    page = visit(learning, "415")
    (tmp_path / "letter.png").write_text("Dear all,")
    section = page.locator("#teaching")
    section.get_by_role("button", name="Learn").click()
    expect(section.get_by_role("alert")).to_have_text("name a class and choose its images")
    section.get_by_label("Class", exact=True).fill("letters")
    section.get_by_role("button", name="Learn").click()
    expect(section.get_by_role("alert")).to_have_text("letters has no images")
    section.get_by_label("Images", exact=True).set_input_files(tmp_path / "letter.png")
    section.get_by_role("button", name="Learn").click()
    expect(section.get_by_role("alert")).to_contain_text("letter.png")
    assert section.get_by_label("Class", exact=True).input_value() == "letters"


def test_a_class_is_forgotten_by_who_writes_its_name(learning: RunningServer, visit: Visit) -> None:
    page = visit(learning)
    page.get_by_role("button", name="Forget six").click()
    page.get_by_label("To be sure, its name").fill("sixx")
    page.get_by_role("button", name="Forget it").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text("the name is six")
    assert "six" in labels(learning)
    page.get_by_label("To be sure, its name").fill("six")
    page.get_by_role("button", name="Forget it").click()
    expect(page.locator("#tasks li").first).to_contain_text("forgets a class")
    expect(page.locator("#tasks li").first.locator(".badge")).to_have_text("done", timeout=LEARNED_MS)
    expect(page.get_by_role("button", name="Forget six")).to_have_count(0)
    assert labels(learning) == {*"012345", NASTY}


def test_an_open_task_is_cancelled_and_tried_again(learning: RunningServer, visit: Visit) -> None:
    page = visit(learning)
    names = [("images", ("6.png", data, "image/png")) for data, _ in digits.labelled(6, count=6)]
    sent = learning.client.post("/learn?commit=false", files=names, data={"labels": ["six"] * 6})
    assert sent.status_code == 202, sent.text
    task = page.locator("#tasks li").first
    expect(task.locator(".badge")).to_have_text("open")
    task.get_by_role("button", name="Cancel").click()
    expect(task.locator(".badge")).to_have_text("cancelled")
    assert learning.client.get(f"/tasks/{sent.json()['id']}").json()["state"] == "cancelled"
    task.get_by_role("button", name="Try again").click()
    expect(task.locator(".badge")).to_have_text("done", timeout=LEARNED_MS)
    assert "six" in labels(learning)
