import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from everclass.errors import Conflict, NoAnswer, NotTheContract, QuotaFull, ServerFault, Unavailable
from everclass.transport import IMPATIENT, Patience, Transport, json_object, retry_after_s
from tests.everclass.scripted import DROP, Reply, scripted

BUSY = Reply(503, {"title": "Service Unavailable", "detail": "draining"})


def transport(url: str, pauses: list[float], **patience: float) -> Transport:
    return Transport(url, "a-key", Patience(**patience), sleep=pauses.append)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "why"), [(None, "No such file or directory"), ("no certificate\n", "it holds no certificate")]
)
def test_a_file_of_certificates_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, why: str
) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(ValueError, match=f"^SSL_CERT_FILE: {file} cannot be used: {why}$"):
        Transport("https://127.0.0.1:1", None, IMPATIENT)


def test_a_busy_server_is_asked_again_until_it_answers() -> None:
    pauses: list[float] = []
    with scripted(BUSY, Reply(200, DROP), Reply(200, {"fine": True})) as server:
        assert json_object(transport(server.url, pauses).call("GET", "/x")) == {"fine": True}
    assert len(server.asked) == 3
    assert 0.1 <= pauses[0] <= 0.2 and 0.2 <= pauses[1] <= 0.4


def test_a_write_is_repeated_under_one_and_the_same_key() -> None:
    with scripted(BUSY, BUSY, Reply(200)) as server:
        line = transport(server.url, [])
        line.call("POST", "/x", json={})
        line.call("POST", "/x", json={})
    first, second, third, other = (asked.headers["Idempotency-Key"] for asked in server.asked)
    assert first == second == third != other


def test_reading_carries_no_idempotency_key_but_the_bearer_token() -> None:
    with scripted(Reply(200)) as server:
        transport(server.url, []).call("GET", "/x", query={"a": True, "b": None, "c": 3})
    assert "Idempotency-Key" not in server.asked[0].headers
    assert server.asked[0].headers["Authorization"] == "Bearer a-key"
    assert server.asked[0].path == "/x?a=true&c=3"


def test_the_server_says_how_long_to_wait() -> None:
    pauses: list[float] = []
    with scripted(Reply(429, {}, {"Retry-After": "7"}), Reply(200)) as server:
        transport(server.url, pauses).call("POST", "/x")
    assert pauses == [7.0]


def test_a_longer_wait_than_one_has_patience_for_is_an_error_at_once() -> None:
    pauses: list[float] = []
    with scripted(Reply(429, {}, {"Retry-After": "7"})) as server, pytest.raises(QuotaFull) as caught:
        transport(server.url, pauses, pauses_s=5).call("POST", "/x")
    assert caught.value.retry_after_s == 7.0
    assert pauses == [] and len(server.asked) == 1


def test_patience_ends() -> None:
    with scripted(BUSY) as server, pytest.raises(Unavailable, match="draining"):
        transport(server.url, [], retries=2).call("GET", "/x")
    assert len(server.asked) == 3


@pytest.mark.parametrize(("status", "kind"), [(409, Conflict), (500, ServerFault)])
def test_what_a_retry_cannot_mend_is_not_tried_again(status: int, kind: type[Exception]) -> None:
    with scripted(Reply(status)) as server, pytest.raises(kind):
        transport(server.url, []).call("POST", "/x")
    assert len(server.asked) == 1


def test_a_conflict_with_a_first_try_still_in_flight_is_waited_for() -> None:
    with scripted(Reply(409, {}, {"Retry-After": "1"}), Reply(200)) as server:
        transport(server.url, []).call("POST", "/x")
    assert len(server.asked) == 2


def test_nobody_listening_is_no_answer() -> None:
    with scripted() as server:
        url = server.url
    with pytest.raises(NoAnswer) as caught:
        transport(url, [], retries=1).call("GET", "/x")
    assert caught.value.url == f"{url}/x"


def test_a_server_that_is_silent_for_too_long_is_no_answer() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NoAnswer, match="timed out"):
            transport(url, [], retries=0, timeout_s=0.2).call("GET", "/x")


def test_a_timeout_that_is_given_holds_for_images_too_and_ends_the_tries() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        pauses: list[float] = []
        started = time.monotonic()
        with pytest.raises(NoAnswer, match="timed out"):
            transport(url, pauses, timeout_s=0.3, within_s=0.3).call("POST", "/x", body=b"an image")
        assert time.monotonic() - started < 5 and pauses == []
    assert (Patience().answer_s, Patience().transfer_s, Patience(timeout_s=700).answer_s) == (60, 600, 700)


def test_a_refusal_that_is_no_json_is_still_told() -> None:
    with scripted(Reply(404, "<html>lost</html>")) as server, pytest.raises(Exception, match="lost"):
        transport(server.url, []).call("GET", "/x")


@pytest.mark.parametrize("body", ["<html>", "[1]"])
def test_another_kind_of_server_is_recognised(body: str) -> None:
    with scripted(Reply(200, body)) as server, pytest.raises(NotTheContract, match="is this an Everclass server"):
        json_object(transport(server.url, []).call("GET", "/x"))


def test_a_probe_tells_the_body_of_a_server_that_is_not_ready() -> None:
    with scripted(Reply(503, {"ready": False})) as server:
        assert transport(server.url, []).probe("/readyz") == {"ready": False}
        url = server.url
    with pytest.raises(NoAnswer):
        transport(url, []).probe("/readyz")


def test_a_stream_that_breaks_is_no_answer() -> None:
    with (
        scripted(Reply(200, DROP)) as server,
        pytest.raises(NoAnswer),
        transport(server.url, [], retries=0).stream("/x"),
    ):
        pass


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after_s(None) is None
    assert retry_after_s("soon") is None
    assert retry_after_s("12") == 12.0
    assert retry_after_s("\xb2") is None
    in_a_minute = retry_after_s(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert in_a_minute is not None and 57 < in_a_minute <= 60
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


@pytest.mark.parametrize("key", ["evc_abc_def\n", " evc_abc_def\r\n"])
def test_white_space_around_a_key_is_not_part_of_it(key: str) -> None:
    transport = Transport("http://localhost:1", key, IMPATIENT)
    assert transport._http.headers["Authorization"] == "Bearer evc_abc_def"
    transport.close()


@pytest.mark.parametrize("key", ["evc_abc\ndef", "evc_äbc", "a b", "evc_abc\x00", "x" * 513])
def test_what_is_no_key_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="holds characters that no key has") as refused:
        Transport("http://localhost:1", key, IMPATIENT)
    assert key not in str(refused.value)


def test_a_request_that_cannot_be_sent_is_not_quoted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = Transport(f"http://127.0.0.1:{server.getsockname()[1]}", None, IMPATIENT)
        with pytest.raises(NoAnswer) as failed:
            transport.call("GET", "/tasks", headers={"X-Secret": "line\nend"})
        assert "line" not in str(failed.value)
        transport.close()


@pytest.mark.parametrize("url", ["http://localhost:3x", "http://[::1"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        transport(url, [])


def test_an_answer_that_cannot_be_unpacked_is_not_the_contract() -> None:
    with (
        scripted(Reply(200, {"a": 1}, {"Content-Encoding": "gzip"})) as server,
        pytest.raises(NotTheContract, match="unpacked"),
    ):
        transport(server.url, []).call("GET", "/x")
