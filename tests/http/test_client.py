"""The client and the command against the real server, which really learns."""

import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from everclass import (
    IMPATIENT,
    Client,
    Conflict,
    LabelledImage,
    NotFound,
    Task,
    TaskCancelled,
    Unavailable,
    WrongContent,
    images,
)
from everclass.main import cli
from tests import digits, tiny_weights
from tests.http.server import RunningServer

TINY: dict[str, object] = {
    "backbone": "test_vit",
    "image_size": 32,
    "learn.epochs": 1,
    "learn.min_steps": 2,
    "learn.precision": "fp32",
    "learn.threads": 1,
    "gate.enabled": False,
    "serve.runtime": "onnxruntime",
}


@pytest.fixture(scope="module")
def server(seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with a learner, empty at first; the tests of this module run in order and build on each other."""
    place = tmp_path_factory.mktemp("client")
    settings = {**TINY, "weights": tiny_weights.make("test_vit", place)}
    shutil.copytree(seed, place / "data")
    with RunningServer(place / "data", learner=True, settings=settings) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


def lesson(*numbers: int, count: int = 8, start: int = 0) -> list[LabelledImage]:
    return [LabelledImage(label, data) for data, label in digits.labelled(*numbers, count=count, start=start)]


def tree(folder: Path, *numbers: int, count: int = 6) -> Path:
    """A folder a digit with its first images."""
    for number in numbers:
        (folder / str(number)).mkdir(parents=True)
        for index, data in enumerate(digits.pngs(number)[:count]):
            (folder / str(number) / f"{index}.png").write_bytes(data)
    return folder


def everclass(server: RunningServer, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--url", server.url])


def test_before_the_first_version_one_is_told_to_come_again(server: RunningServer) -> None:
    with Client(server.url, patience=IMPATIENT) as client, pytest.raises(Unavailable) as caught:
        client.predict(digits.pngs(0)[0])
    assert caught.value.retry_after_s is not None
    with Client(server.url) as client:
        assert not client.readiness().ready
        assert client.aliases() == {} and client.classes() == []


def test_a_lesson_is_followed_to_its_versions(client: Client) -> None:
    seen: list[Task] = []
    task = client.learn_images(lesson(0, 1), name="zero and one", note="first")
    assert (task.state in ("queued", "learning"), task.images, task.labels) == (True, 16, {"0": 8, "1": 8})
    done = client.wait_for_task(task.id, timeout_s=100, on_progress=seen.append)
    assert done.versions == (1, 2) and done.state == "done" and done.note == "first"
    assert seen[-1] == done
    assert [now.progress for now in seen] == sorted(now.progress or 0.0 for now in seen)
    assert [client.version(number).kind for number in done.versions] == ["provisional", "final"]
    assert client.aliases() == {"serving": 2}
    assert [(known.label, known.since) for known in client.classes()] == [("0", task.id), ("1", task.id)]


def test_predictions_come_in_order_from_the_version_in_force(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "zero.png"
    file.write_bytes(digits.pngs(0)[50])
    answer = client.predict([file, digits.pngs(1)[50], str(file)], top_k=2)
    assert (answer.version, answer.kind, answer.promotion_seq) == (2, "final", 2)
    assert answer.predictions[0] == answer.predictions[2] != answer.predictions[1]
    first = answer.predictions[0]
    assert first.top[0].label == first.label
    assert sum(candidate.score for candidate in first.top) == pytest.approx(1.0)
    assert client.predict(digits.pngs(0)[50], version=2).version == 2
    readiness = client.readiness()
    assert (readiness.ready, readiness.version, readiness.behind) == (True, 2, False)
    assert readiness.learner is not None and readiness.learner.alive


def test_a_folder_an_archive_and_a_table_are_the_same_lesson(client: Client, tmp_path: Path) -> None:
    folder = tree(tmp_path / "digits", 2, 3)
    archive = shutil.make_archive(str(tmp_path / "digits"), "zip", folder)
    table = pyarrow.table({"image": digits.pngs(2)[:6] + digits.pngs(3)[:6], "label": ["2"] * 6 + ["3"] * 6})
    pyarrow.parquet.write_table(table, tmp_path / "digits.parquet")
    for source in (folder, archive, tmp_path / "digits.parquet"):
        task = client.learn(source, commit=False)
        assert (task.state, task.images, task.labels) == ("open", 12, {"2": 6, "3": 6})
        assert client.cancel(task.id).state == "cancelled"
        with pytest.raises(TaskCancelled):
            client.wait_for_task(task.id)


def test_batches_of_one_task_are_learned_together(
    server: RunningServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "BATCH_IMAGES", 5)
    task = client.learn_images(lesson(2, 3), promote="auto")
    assert task.images == 16
    assert client.wait_for_task(task.id, timeout_s=100).versions == (3, 4)
    assert {known.label for known in client.classes()} == {"0", "1", "2", "3"}


def test_an_open_task_takes_more_until_it_is_committed(client: Client) -> None:
    task = client.learn_images(lesson(4), commit=False)
    more = client.learn_images(lesson(4, start=8), task=task.id, commit=False)
    assert (more.id, more.state, more.images) == (task.id, "open", 16)
    assert client.commit(task.id).state in ("queued", "learning")
    done = client.wait_for_task(task.id, timeout_s=100)
    assert [client.version(number).kind for number in done.versions] == ["final"]


def test_the_same_key_is_the_same_task(client: Client) -> None:
    first = client.learn_images(lesson(5, count=2), commit=False, idempotency_key="once")
    assert client.learn_images(lesson(5, count=2), commit=False, idempotency_key="once").id == first.id
    with pytest.raises(WrongContent):
        client.learn_images(lesson(5, count=3), commit=False, idempotency_key="once")
    client.cancel(first.id)


def test_a_bad_image_is_named_and_nothing_of_its_lesson_is_kept(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [task.id for task in client.tasks()]
    cut_off = LabelledImage("6", digits.pngs(6)[0][:60], name="cut-off.png")
    with pytest.raises(WrongContent) as caught:
        client.learn_images([*lesson(6), cut_off])
    assert [error.field for error in caught.value.errors] == ["images[8]"]
    assert [task.id for task in client.tasks()] == before
    monkeypatch.setattr(images, "BATCH_IMAGES", 5)
    with pytest.raises(WrongContent):
        client.learn_images([*lesson(6), cut_off])
    [left] = [task for task in client.tasks() if task.id not in before]
    assert left.state == "cancelled"


def test_one_goes_back_and_forward_and_the_log_tells(client: Client) -> None:
    serving = client.aliases()["serving"]
    back = client.rollback(version=2, reason="to see", expected=serving)
    assert (back.version, back.previous, set(back.lost)) == (2, serving, {"2", "3", "4"})
    assert client.predict(digits.pngs(0)[50]).version == 2
    with pytest.raises(Conflict):
        client.rollback(version=4, expected=serving)
    forward = client.promote(serving, reason="as before", expected_seq=back.seq)
    assert set(forward.won) == {"2", "3", "4"}
    log = list(client.promotions())
    assert [(one.seq, one.reason) for one in log[:2]] == [(forward.seq, "as before"), (back.seq, "to see")]
    [then] = client.promotions(at=back.at.isoformat())
    assert then.seq == back.seq
    assert client.promote(2, alias="canary").alias == "canary"
    assert client.predict(digits.pngs(0)[50], alias="canary").version == 2


def test_lists_are_whole_and_what_is_not_there_is_not_found(client: Client) -> None:
    assert [version.version for version in client.versions()] == [5, 4, 3, 2, 1]
    assert {task.state for task in client.tasks(state="done")} == {"done"}
    with pytest.raises(NotFound):
        client.task("nothing")
    with pytest.raises(Conflict):
        client.delete_version(client.aliases()["serving"])


def test_an_export_is_an_archive(client: Client, tmp_path: Path) -> None:
    file = client.export(2, tmp_path / "two.zip", format="safetensors")
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert any(name.endswith(".safetensors") for name in archive.namelist())


def test_the_command_does_the_same(server: RunningServer, tmp_path: Path) -> None:
    learned = everclass(server, "learn", str(tree(tmp_path / "more", 7, 8)), "--name", "from the command", "--json")
    assert learned.exit_code == 0, learned.output
    task = json.loads(learned.stdout)
    assert (task["state"], task["labels"]) == ("done", {"7": 6, "8": 6})
    file = tmp_path / "seven.png"
    file.write_bytes(digits.pngs(7)[50])
    said = everclass(server, "predict", str(file), "--json")
    [item] = json.loads(said.stdout)["items"]
    assert item["version"] == task["versions"][-1]
    back = everclass(server, "rollback", "--task", task["id"], "--reason", "to see")
    assert back.exit_code == 0 and "lost  7, 8" in back.stdout
    forward = everclass(server, "promote", str(task["versions"][-1]))
    assert forward.exit_code == 0 and "won   7, 8" in forward.stdout
    for arguments in (["tasks"], ["versions"], ["classes"], ["promotions"], ["tasks", "show", task["id"]]):
        assert everclass(server, *arguments).exit_code == 0
    log = json.loads(everclass(server, "promotions", "--json").stdout)
    shown = next(line.split() for line in everclass(server, "promotions").stdout.splitlines() if line[:1].isdigit())
    [then] = json.loads(everclass(server, "promotions", "--at", shown[4], "--json").stdout)
    assert (int(shown[0]), then["seq"]) == (log[0]["seq"], log[0]["seq"])
    written = everclass(server, "export", "2", "--to", str(tmp_path / "two.zip"))
    assert written.exit_code == 0 and zipfile.is_zipfile(tmp_path / "two.zip")


def test_a_class_is_forgotten_comes_back_by_rollback_and_is_purged(server: RunningServer, client: Client) -> None:
    odd = "ä/7 & more"
    task = client.wait_for_task(
        client.learn_images([LabelledImage(odd, data) for data in digits.pngs(9)[:8]], note="odd").id
    )
    knew = task.versions[-1]
    assert odd in {one.label for one in client.classes()}
    forgotten = client.wait_for_task(client.forget(odd).id)
    assert (forgotten.kind, forgotten.labels, forgotten.base) == ("forget", {odd: 0}, knew)
    assert odd not in {one.label for one in client.classes()}
    answer = client.predict(digits.pngs(9)[:8], top_k=100)
    assert answer.version == forgotten.versions[-1]
    assert odd not in {one.label for said in answer.predictions for one in said.top}
    assert odd in client.rollback().won
    purged = everclass(server, "forget", odd, "--purge", "--yes", "--json")
    assert purged.exit_code == 0, purged.output
    assert json.loads(purged.stdout)["purge"] is True
    with pytest.raises(Conflict, match="deleted"):
        client.rollback(version=knew)
    with pytest.raises(Conflict, match="deleted"):
        client.predict(digits.pngs(9)[0], version=knew)
    with pytest.raises(NotFound, match="class"):
        client.forget(odd, purge=True)
    asked = CliRunner().invoke(cli, ["forget", "7", "--purge", "--url", server.url], input="n\n")
    assert asked.exit_code == 1 and "cannot be undone" in asked.output
    assert everclass(server, "forget", "no such class").exit_code == 4


def test_the_command_tells_scripts_what_went_wrong(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "bad" / "cat").mkdir(parents=True)
    (tmp_path / "bad" / "cat" / "1.png").write_bytes(digits.pngs(0)[0][:60])
    assert everclass(server, "learn", str(tmp_path / "bad")).exit_code == 6
    assert everclass(server, "tasks", "show", "nothing").exit_code == 4
    assert everclass(server, "rollback", "2", "--expected", "1").exit_code == 5


def test_an_image_that_is_no_file_type_of_ours_is_refused(client: Client) -> None:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "BMP")
    with pytest.raises(Exception, match="415") as caught:
        client.predict(file.getvalue())
    assert type(caught.value).__name__ == "UnsupportedType"
