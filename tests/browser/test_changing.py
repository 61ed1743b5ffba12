"""Teaching, going back, forgetting on a server that really learns. Each test goes on from where the last one ended."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests import digits
from tests.http.server import RunningServer
from tests.taught import Taught

Visit = Callable[..., Page]

NASTY = "<img src=x onerror=alert(1)>"
LEARNED_MS = 90_000
TRIES = 4


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


def choose(page: Page, version: int) -> None:
    """Press Serve in the version's line: the question comes."""
    page.locator("#versions").get_by_role("button", name=f"Serve version {version}", exact=True).click()


def confirm(page: Page, version: int) -> None:
    page.get_by_role("dialog").get_by_role("button", name=f"Serve version {version}").click()


def test_another_version_is_served_once_it_was_said_what_is_lost(learning: RunningServer, visit: Visit) -> None:
    page = visit(learning)
    choose(page, 4)
    expect(page.get_by_role("dialog")).to_contain_text("No longer known: 4, 5.")
    page.get_by_role("button", name="Leave it").click()
    assert serving(learning) == 6
    assert page.evaluate("document.activeElement.ariaLabel") == "Serve version 4"
    choose(page, 4)
    page.get_by_label("Reason").fill("worse on fives")
    confirm(page, 4)
    expect(page.locator("#standing")).to_contain_text("version 4 serves 4 classes")
    expect(page.locator("#versions tbody.force th")).to_have_text("4")
    expect(page.locator("#classes li")).to_have_count(4)
    expect(page.locator("#log li").first).to_contain_text("worse on fives")
    assert serving(learning) == 4
    [move] = learning.client.get("/promotions?limit=1").json()["items"]
    assert (move["previous"], move["reason"], move["lost"]) == (6, "worse on fives", ["4", "5"])


def test_nothing_moves_where_somebody_else_was_faster(learning: RunningServer, visit: Visit) -> None:
    page = visit(learning, "409")
    choose(page, 6)
    expect(page.get_by_role("dialog")).to_contain_text("Known again: 4, 5.")
    assert learning.client.put("/aliases/serving", json={"version": 2}).status_code == 200
    confirm(page, 6)
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("version 2")
    assert serving(learning) == 2
    page.get_by_role("button", name="Leave it").click()
    expect(page.locator("#versions tbody.force th")).to_have_text("2")


def test_the_version_in_force_is_there_also_where_it_is_old_and_older_ones_on_demand(
    learning: RunningServer, visit: Visit
) -> None:
    page = visit(learning)
    expect(page.locator("#versions tbody")).to_have_count(6)
    fewer = lambda route: route.continue_(url=route.request.url.replace("limit=25", "limit=2"))  # noqa: E731
    page.route("**/versions?*", fewer)
    page.reload()
    expect(page.locator("#versions tbody th")).to_have_text(["6", "5 provisional", "2"])
    expect(page.locator("#versions tbody.force th")).to_have_text("2")
    page.get_by_role("button", name="Older versions").click()
    expect(page.locator("#versions tbody th")).to_have_text(["6", "5 provisional", "4", "3 provisional", "2"])


def test_a_promotion_under_way_cannot_be_left(learning: RunningServer, visit: Visit) -> None:
    page = visit(learning)
    held: list[Route] = []
    page.route("**/aliases/serving", lambda route: held.append(route))
    choose(page, 6)
    with page.expect_request("**/aliases/serving"):
        confirm(page, 6)
    for _ in range(3):
        page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Leave it")).to_be_disabled()
    expect(page.get_by_role("dialog")).to_be_visible()
    held[0].continue_()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#versions tbody.force th")).to_have_text("6")
    assert serving(learning) == 6


def test_an_alias_is_given_moved_and_removed(learning: RunningServer, visit: Visit) -> None:
    page = visit(learning)
    for number in ("2", "4"):
        row = page.locator("#versions tbody", has=page.get_by_role("rowheader", name=number, exact=True))
        row.get_by_role("button", name=f"More of version {number}").click()
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
    for left_behind in (".hidden", "Thumbs.db"):
        (tmp_path / "lesson" / "8" / left_behind).write_text("not an image")
    page.get_by_label("a folder with a folder for each class").check()
    page.get_by_label("Folder", exact=True).set_input_files(tmp_path / "lesson")
    page.get_by_label("only make versions; I promote them myself").check()
    page.get_by_role("button", name="Learn", exact=True).click()
    expect(page.locator(f"{section} .news")).to_contain_text("16 images of 8, 9")
    expect(page.locator("#tasks li").first.locator(".badge")).to_have_text("done", timeout=LEARNED_MS)
    assert serving(learning) == before
    newest = page.locator("#versions tbody").first
    expect(newest.get_by_text("held", exact=True)).to_be_visible()


def test_a_version_is_deleted_by_who_confirms_it(learning: RunningServer, visit: Visit) -> None:
    page = visit(learning)
    newest = learning.client.get("/versions?limit=1").json()["items"][0]["version"]
    row = page.locator("#versions tbody").first
    row.get_by_role("button", name=f"More of version {newest}").click()
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Leave it").click()
    assert learning.client.get(f"/versions/{newest}").json()["state"] == "held"
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name=f"Delete version {newest}").click()
    expect(row.get_by_text("deleted", exact=True)).to_be_visible()
    expect(row.get_by_role("button", name="Delete")).to_have_count(0)
    assert learning.client.get(f"/versions/{newest}").json()["state"] == "deleted"


def test_an_archive_is_taught(learning: RunningServer, visit: Visit, tmp_path: Path) -> None:
    page = visit(learning)
    with zipfile.ZipFile(tmp_path / "lesson.zip", "w") as archive:
        for digit in (8, 9):
            for picture in pictures(tmp_path, digit):
                archive.write(picture, f"{digit}/{picture.name}")
    page.get_by_label("an archive or a Parquet table").check()
    page.get_by_label("File (zip, tar or Parquet)").set_input_files(tmp_path / "lesson.zip")
    page.get_by_label("only make versions; I promote them myself").check()
    page.get_by_role("button", name="Learn", exact=True).click()
    expect(page.locator("#teaching .news")).to_contain_text("16 images of 8, 9, safe on disk")
    [task] = learning.client.get("/tasks?limit=1").json()["items"]
    assert task["labels"] == {"8": 8, "9": 8}
    expect(page.locator("#tasks li").first.locator(".badge")).to_have_text("done", timeout=LEARNED_MS)


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


def test_what_a_task_refuses_is_said_in_its_line_and_stays_there(learning: RunningServer, visit: Visit) -> None:
    page = visit(learning, "409")
    assert learning.client.post("/tasks", json={"name": "nothing in it"}).status_code == 201
    task = page.locator("#tasks li").first
    expect(task).to_contain_text("nothing in it")
    task.get_by_role("button", name="Learn it now").click()
    expect(task.get_by_role("alert")).not_to_be_empty()
    said = task.get_by_role("alert").inner_text()
    assert learning.client.post("/tasks", json={"name": "another"}).status_code == 201
    expect(page.locator("#tasks li").first).to_contain_text("another")
    expect(page.locator("#tasks li").nth(1).get_by_role("alert")).to_have_text(said)


def test_who_presses_learn_again_teaches_once(learning: RunningServer, visit: Visit, tmp_path: Path) -> None:
    page = visit(learning, "ERR_FAILED")
    keys: list[str] = []

    def lost(route: Route) -> None:
        """The request comes, its answer does not."""
        keys.append(route.request.headers["idempotency-key"])
        route.abort() if len(keys) <= TRIES else route.continue_()

    page.route("**/learn", lost)
    section = page.locator("#teaching")
    section.get_by_label("Class", exact=True).fill("eight")
    section.get_by_label("Images", exact=True).set_input_files(pictures(tmp_path, 8))
    section.get_by_role("button", name="Learn").click()
    expect(section.get_by_role("alert")).to_have_text("the server does not answer")
    section.get_by_role("button", name="Learn").click()
    expect(section.locator(".news")).to_contain_text("8 images of eight, safe on disk")
    assert len(keys) == TRIES + 1 and len(set(keys)) == 1
