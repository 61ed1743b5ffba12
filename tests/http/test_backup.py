"""A server is copied while it learns, and goes on elsewhere with the same answers and the same work before it."""

from pathlib import Path

from click.testing import CliRunner

from everclass import Client, LabelledImage
from everclass.main import cli
from tests import digits
from tests.http.server import RunningServer
from tests.http.test_client import TINY
from tests.taught import Taught

ASKED = [data for number in (0, 3, 5) for data in digits.pngs(number)[20:24]]


def answers(client: Client, version: int) -> list[tuple[str, float]]:
    return [(said.label, said.score) for said in client.predict(ASKED, version=version).predictions]


def run(*arguments: object) -> None:
    done = CliRunner().invoke(cli, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output


def test_what_is_restored_elsewhere_answers_alike_and_learns_on(taught: Taught, folder: Path, tmp_path: Path) -> None:
    settings = {**TINY, "weights": taught.settings.weights}
    with RunningServer(folder, learner=True, settings=settings) as server, Client(server.url) as client:
        server.wait_until_ready()
        lesson = [LabelledImage(label, data) for data, label in digits.labelled(8, 9, count=12)]
        waiting = client.learn_images(lesson)
        run("backup", tmp_path / "backup", "--data-dir", folder, "--json")
        before = answers(client, 6)
        run("backup", tmp_path / "backup", "--data-dir", folder)
    elsewhere = tmp_path / "elsewhere"
    run("restore", tmp_path / "backup", "--data-dir", elsewhere)
    with RunningServer(elsewhere, learner=True, settings=settings) as server, Client(server.url) as client:
        server.wait_until_ready()
        assert answers(client, 6) == before
        assert client.wait_for_task(waiting.id, timeout_s=120).state == "done"
        assert {"8", "9"} <= {one.label for one in client.classes()}
    stranger = tmp_path / "stranger"
    run("keys", "create", "--scope", "learn", "--name", "ci", "--data-dir", stranger)
    over = CliRunner().invoke(cli, ["backup", str(tmp_path / "backup"), "--data-dir", str(stranger)])
    assert over.exit_code == 5 and "another server" in over.output
    nowhere = CliRunner().invoke(cli, ["backup", str(tmp_path / "backup"), "--data-dir", str(tmp_path / "no")])
    assert nowhere.exit_code == 2 and not (tmp_path / "no").exists()
    again = CliRunner().invoke(cli, ["restore", str(tmp_path / "backup"), "--data-dir", str(elsewhere)])
    assert again.exit_code == 5 and "not empty" in again.output
