"""The command against answers that are told it; the real server is asked in tests/http."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from everclass.exits import MEANINGS
from everclass.main import cli
from tests.everclass.scripted import Reply, ScriptedServer, scripted

TASK: dict[str, Any] = {
    "id": "t1",
    "state": "done",
    "name": "pets",
    "images": 3,
    "labels": {"cat": 2, "dog": 1},
    "versions": [1, 2],
    "epochs": [{"epoch": 1, "loss": 0.5, "accuracy": 0.75}],
    "created_at": "2026-01-31T12:00:00Z",
}
VERSION = {
    "version": 2,
    "parent": 1,
    "kind": "final",
    "state": "ready",
    "accuracy": 0.912,
    "classes": [{"label": "cat", "since": "t1", "images": 2}],
}
PROMOTION = {"seq": 4, "alias": "serving", "version": 2, "previous": 3, "at": "2026-01-31T12:00:00Z", "lost": ["cat"]}
SAID = {
    "label": "cat",
    "score": 0.9,
    "known": False,
    "top": [{"label": "cat", "score": 0.9}, {"label": "dog", "score": 0.1}],
}


def everclass(server: ScriptedServer, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--url", server.url])


def test_learning_waits_for_the_task_and_says_what_came_of_it(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(b"x")
    task, provisional = Reply(200, TASK), Reply(200, {**VERSION, "version": 1, "kind": "provisional"})
    with scripted(Reply(202, {**TASK, "state": "queued"}), task, task, provisional, Reply(200, VERSION)) as server:
        done = everclass(server, "learn", str(tmp_path), "--name", "pets", "--base", "none")
    assert done.exit_code == 0, done.output
    assert server.asked[0].path == "/learn?commit=true&base=none"
    assert "task t1: done" in done.stdout
    assert "cat (2), dog (1)" in done.stdout
    assert "1: loss 0.500, 75.0 %" in done.stdout
    assert "version 1: provisional, ready\nversion 2: final, ready\n" in done.stdout
    assert "promote" not in done.stdout


@pytest.mark.parametrize("command", [["learn"], ["tasks", "watch", "t1"], ["forget", "cat"]])
@pytest.mark.parametrize(
    ("states", "told"),
    [
        (("held", "held"), "everclass promote 2"),
        (("ready", "held"), "everclass promote 2"),
        (("held", "damaged"), "everclass promote 1"),
        (("held", "ready"), None),
        (("damaged", "damaged"), None),
    ],
)
def test_who_waited_is_told_of_versions_that_do_not_serve_and_what_to_do(
    tmp_path: Path, command: list[str], states: tuple[str, str], told: str | None
) -> None:
    if command == ["learn"]:
        (tmp_path / "a.zip").write_bytes(b"x")
        command = ["learn", str(tmp_path / "a.zip")]
    reasons = {"held": "to be promoted by a person", "damaged": "no runtime loads it", "ready": "too few to judge"}
    made = [
        Reply(200, {**VERSION, "version": number, "state": state, "reason": reasons[state]})
        for number, state in enumerate(states, start=1)
    ]
    task = Reply(200, TASK)
    first = [] if command[0] == "tasks" else [Reply(202, {**TASK, "state": "queued"})]
    with scripted(*first, task, task, *made) as server:
        done = everclass(server, *command)
    assert done.exit_code == 0, done.output
    for number, state in enumerate(states, start=1):
        why = "" if state == "ready" else f" ({reasons[state]})"
        assert f"version {number}: final, {state}{why}\n" in done.stdout
    assert (told in done.stdout) if told else ("everclass promote" not in done.stdout)


def test_learning_may_return_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"x")
    with scripted(Reply(202, {**TASK, "state": "queued", "position": 2})) as server:
        done = everclass(server, "learn", str(tmp_path / "a.zip"), "--detach", "--json")
    assert json.loads(done.stdout)["position"] == 2
    assert len(server.asked) == 1


def test_predictions_name_file_label_and_version(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(40)]
    for file in files:
        file.write_bytes(b"x")
    replies = [Reply(200, {"version": 2, "predictions": [SAID] * many}) for many in (32, 8, 32, 8)]
    with scripted(*replies) as server:
        table = everclass(server, "predict", *map(str, files))
        document = everclass(server, "predict", *map(str, files), "--json", "--alias", "canary")
    assert table.stdout.count("90.0 %") == 40 and "dog 10.0 %" in table.stdout and "no" in table.stdout
    items = json.loads(document.stdout)["items"]
    assert [item["file"] for item in items] == [str(file) for file in files]
    assert items[0]["version"] == 2
    assert server.asked[2].path == "/predict?top_k=5&alias=canary"


def test_predictions_go_in_parts_that_the_server_takes(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(40)]
    for file in files:
        file.write_bytes(b"x")
    too_many = Reply(413, {"detail": "32 images are more than the 20 allowed in a request"})
    answers = [Reply(200, {"version": 2, "predictions": [SAID] * many}) for many in (16, 16, 8)]
    with scripted(too_many, *answers) as server:
        document = everclass(server, "predict", *map(str, files), "--json")
    assert [item["file"] for item in json.loads(document.stdout)["items"]] == [str(file) for file in files]
    with scripted(too_many) as server:
        failed = everclass(server, "predict", *map(str, files))
    assert failed.exit_code == 6 and len(server.asked) == 6
    pixels = {"detail": "images[3]: too many pixels", "errors": [{"field": "images[3]", "message": "too many pixels"}]}
    with scripted(Reply(413, pixels)) as server:
        failed = everclass(server, "predict", *map(str, files))
    assert len(server.asked) == 1 and f"{files[3]}: too many pixels" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "method", "path"),
    [
        (["tasks", "show", "t1"], "GET", "/tasks/t1"),
        (["tasks", "cancel", "t1"], "DELETE", "/tasks/t1?purge=false"),
        (["tasks", "purge", "t1", "--yes"], "DELETE", "/tasks/t1?purge=true"),
        (["tasks", "retry", "t1"], "POST", "/tasks/t1/retry"),
        (["tasks", "commit", "t1"], "POST", "/tasks/t1/commit"),
    ],
)
def test_a_task_is_shown_after_what_was_done_to_it(arguments: list[str], method: str, path: str) -> None:
    with scripted(Reply(200, TASK)) as server:
        done = everclass(server, *arguments)
    assert (server.asked[0].method, server.asked[0].path) == (method, path)
    assert done.exit_code == 0 and "pets" in done.stdout


def test_a_task_is_cancelled_twice_without_harm_and_purged_only_after_a_question() -> None:
    already = {"title": "Conflict", "detail": "task t1 is cancelled already; what is kept of its images stays"}
    with scripted(Reply(409, already)) as server:
        again = everclass(server, "tasks", "cancel", "t1")
        asked = CliRunner().invoke(cli, ["tasks", "purge", "t1", "--url", server.url], input="n\n")
    assert again.exit_code == 5 and "cancelled already" in again.stderr
    assert asked.exit_code == 1 and "cannot be undone" in asked.output
    assert len(server.asked) == 1


def test_who_stops_waiting_is_told_that_the_server_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"x")
    with scripted(Reply(202, {**TASK, "state": "learning"})) as server:
        command = [sys.executable, "-m", "everclass.main", "learn", str(tmp_path / "a.zip"), "--url", server.url]
        # A shell in the background has its children ignore Ctrl-C.
        heed = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
            deadline = time.monotonic() + 60
            while len(server.asked) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            try:
                _, said = process.communicate(timeout=60)
            finally:
                process.kill()
    assert process.returncode == 1 and "the server goes on with task t1" in said


@pytest.mark.parametrize("arguments", [["tasks"], ["tasks", "list"], ["tasks", "list", "--state", "done"]])
def test_tasks_are_listed_by_default(arguments: list[str]) -> None:
    with scripted(Reply(200, {"items": [TASK], "next": None})) as server:
        table = CliRunner().invoke(cli, [*arguments, "--url", server.url])
        document = CliRunner().invoke(cli, [*arguments, "--url", server.url, "--json"])
    assert "t1" in table.stdout and "1, 2" in table.stdout
    assert json.loads(document.stdout)[0]["id"] == "t1"


def test_versions_are_listed_with_the_aliases_that_point_at_them() -> None:
    page = Reply(200, {"items": [VERSION], "next": None})
    with scripted(page, Reply(200, {"serving": 2, "canary": 1}), page) as server:
        table = everclass(server, "versions")
        document = everclass(server, "versions", "--json")
    assert "serving" in table.stdout and "canary" not in table.stdout and "91.2 %" in table.stdout
    assert json.loads(document.stdout)[0]["version"] == 2


def test_a_version_is_shown_with_its_classes_and_deleted() -> None:
    with scripted(Reply(200, VERSION)) as server:
        table = everclass(server, "versions", "show", "2")
        document = everclass(server, "versions", "show", "2", "--json")
        deleted = everclass(server, "versions", "delete", "2")
        deleted_document = everclass(server, "versions", "delete", "2", "--json")
    assert "0.912" in table.stdout and "cat" in table.stdout
    assert json.loads(document.stdout)["accuracy"] == 0.912
    assert "version 2 is deleted" in deleted.stdout
    assert json.loads(deleted_document.stdout)["version"] == 2


def test_classes_and_promotions_are_listed() -> None:
    classes, log = (
        Reply(200, {"items": VERSION["classes"], "next": None}),
        Reply(200, {"items": [PROMOTION], "next": None}),
    )
    with scripted(classes, classes, log, log) as server:
        assert "cat" in everclass(server, "classes").stdout
        assert json.loads(everclass(server, "classes", "--json").stdout)[0]["label"] == "cat"
        assert "2026-01-31T12:00:00.000000Z" in everclass(server, "promotions", "--at", "2026-02-01T00:00:00Z").stdout
        assert json.loads(everclass(server, "promotions", "--json").stdout)[0]["seq"] == 4
    assert server.asked[2].path == "/promotions?at=2026-02-01T00%3A00%3A00Z"


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (["rollback"], {}),
        (["rollback", "2", "--reason", "worse", "--expected", "3"], {"version": 2, "reason": "worse", "expected": 3}),
        (["rollback", "--task", "t1"], {"task": "t1"}),
        (["promote", "2", "--reason", "better"], {"version": 2, "reason": "better"}),
    ],
)
def test_a_move_says_from_where_to_where_and_what_was_lost(arguments: list[str], body: dict[str, Any]) -> None:
    with scripted(Reply(200, PROMOTION)) as server:
        done = everclass(server, *arguments)
        document = everclass(server, *arguments, "--json")
    assert json.loads(server.asked[0].body) == body
    assert "serving: version 3 → 2" in done.stdout and "lost  cat" in done.stdout
    assert json.loads(document.stdout)["seq"] == 4


def test_aliases_are_listed_and_removed() -> None:
    removed = Reply(200, {**PROMOTION, "alias": "canary", "version": None, "previous": 2})
    listed = Reply(200, {"canary": 2, "serving": 3})
    with scripted(listed, listed, removed, removed) as server:
        table, document = everclass(server, "aliases"), everclass(server, "aliases", "--json")
        done = everclass(server, "aliases", "remove", "canary", "--reason", "a typo", "--expected", "2")
        told = everclass(server, "aliases", "remove", "canary", "--json")
    assert "canary" in table.stdout and json.loads(document.stdout) == {"canary": 2, "serving": 3}
    assert (server.asked[2].method, server.asked[2].path) == ("DELETE", "/aliases/canary?reason=a+typo&expected=2")
    assert "Idempotency-Key" in server.asked[2].headers
    assert done.exit_code == 0 and "canary: version 2 → –" in done.stdout
    assert json.loads(told.stdout)["version"] is None


def test_the_gates_figures_stand_in_lines_and_times_in_utc() -> None:
    checks = [{"name": "new_classes", "verdict": "passed", "images": 40, "accuracy": 1 / 3, "against": None}]
    version = {**VERSION, "gate": {"verdict": "passed", "checks": checks}, "created_at": "2026-01-31T13:00:00+01:00"}
    with scripted(Reply(200, version)) as server:
        table = everclass(server, "versions", "show", "2").stdout
    assert "{" not in table and "gate.verdict" in table
    assert "gate.checks.new_classes   verdict passed, images 40, accuracy 0.3333" in table
    assert "2026-01-31T12:00:00Z" in table


def test_the_timeout_that_is_given_holds_for_what_moves_images_and_archives(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"x")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for words in (["predict", "a.zip"], ["learn", "a.zip"], ["export", "2", "--to", "b.zip"]):
            arguments = [str(tmp_path / word) if word.endswith(".zip") else word for word in words]
            started = time.monotonic()
            failed = CliRunner().invoke(cli, [*arguments, "--url", url, "--timeout", "0.3"])
            assert (failed.exit_code, time.monotonic() - started < 60) == (3, True), failed.output
    assert CliRunner().invoke(cli, ["classes", "--timeout", "0"]).exit_code == 2


def test_a_rollback_goes_to_one_place() -> None:
    with scripted(Reply(200, PROMOTION)) as server:
        assert everclass(server, "rollback", "2", "--task", "t1").exit_code == 2
    assert server.asked == []


def test_an_export_names_the_file_that_it_wrote_for_its_account_alone(tmp_path: Path) -> None:
    os.umask(0o022)
    with scripted(Reply(200, "archive")) as server:
        done = everclass(server, "export", "2", "--to", str(tmp_path / "two.zip"), "--format", "safetensors")
        document = everclass(server, "export", "2", "--to", str(tmp_path / "two.zip"), "--json")
    assert done.stdout.strip() == str(tmp_path / "two.zip")
    assert (tmp_path / "two.zip").stat().st_mode & 0o077 == 0
    assert json.loads(document.stdout) == {"file": str(tmp_path / "two.zip"), "size_bytes": 7}


@pytest.mark.parametrize(
    ("status", "code"), [(400, 6), (401, 8), (404, 4), (409, 5), (413, 6), (415, 6), (422, 6), (507, 7), (500, 1)]
)
def test_scripts_can_tell_what_went_wrong(status: int, code: int) -> None:
    with scripted(Reply(status, {"title": "No", "detail": "not so"})) as server:
        failed = everclass(server, "tasks", "show", "t1")
    assert failed.exit_code == code
    assert failed.stderr == f"everclass: No ({status}): not so\n"
    assert failed.stdout == ""


def test_a_task_that_failed_while_one_waited_has_its_own_code() -> None:
    with scripted(Reply(200, {**TASK, "state": "failed", "reason": "no room"})) as server:
        failed = everclass(server, "tasks", "watch", "t1")
    assert (failed.exit_code, failed.stderr) == (9, "everclass: task t1 failed: no room\n")


def test_nobody_at_the_address_has_its_own_code() -> None:
    with scripted() as server:
        url = server.url
    assert CliRunner().invoke(cli, ["classes", "--url", url, "--timeout", "0.1"]).exit_code == 3


def test_the_address_may_come_from_the_environment() -> None:
    with scripted(Reply(200, {"items": [], "next": None})) as server:
        done = CliRunner().invoke(cli, ["classes"], env={"EVERCLASS_URL": server.url, "EVERCLASS_KEY": "secret"})
    assert done.exit_code == 0
    assert server.asked[0].headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize("arguments", [["learn", "gone.zip"], ["tasks", "list", "--state", "asleep"], ["nothing"]])
def test_wrong_use_is_told_before_anything_is_sent(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, arguments).exit_code == 2


def test_a_base_is_a_version_or_none(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"x")
    for base in ("latest", "²", "-1", "9" * 5000):
        failed = CliRunner().invoke(cli, ["learn", str(tmp_path / "a.zip"), "--base", base])
        assert failed.exit_code == 2 and "a version's number or none" in failed.stderr


def test_the_help_lists_every_exit_code() -> None:
    text = CliRunner().invoke(cli, ["--help"]).stdout
    assert all(f"{int(code)}  {meaning}" in text for code, meaning in MEANINGS.items())
