"""The real server with more to do than it can, and with clients that take all the time in the world."""

import io
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from tests import digits
from tests.http.server import WORKER, RunningServer
from tests.taught import Taught

MB = 1 << 20
WAITING_MB = 16
GROWTH_MB = 160
"""What the service may grow by under load: bodies in memory, pixels under way, and what the allocator keeps of them."""

SETTINGS = {
    "serve.queue_images": 4,
    "limits.queue_tasks": 1,
    "limits.waiting_mb": WAITING_MB,
    "limits.connections": 150,
    "limits.header_s": 2,
    "limits.patience_s": 2,
    "limits.slowest_kb_s": 2000,
}
ENDS_S = 60.0
SLOW = 50
POOLED = 40
"""Files of the database that may be opened besides: each connection of the pool has two."""

BATCHES = 12

THREADS = 80
"""What the pools of threads have at most, whatever is asked of them."""


@pytest.fixture(scope="module")
def server(taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = taught.copied(tmp_path_factory.mktemp("overload") / "data")
    with RunningServer(folder, settings=SETTINGS) as running:
        running.wait_until_ready()
        assert predict(running).status_code == 200
        yield running


def predict(server: RunningServer, *images: bytes) -> httpx.Response:
    found = [("images", ("a.png", data, "image/png")) for data in images or (digits.pngs(3)[0],)]
    return httpx.post(f"{server.url}/predict", files=found, timeout=ENDS_S)


def learn(server: RunningServer) -> httpx.Response:
    found = [("images", (f"{index}.png", digits.pngs(3)[index], "image/png")) for index in range(4)]
    return httpx.post(f"{server.url}/learn", files=found, data={"labels": ["3"] * 4}, timeout=ENDS_S)


def noise(side: int) -> bytes:
    """A PNG of so many bytes as pixels, about."""
    pixels = np.random.default_rng(8).integers(0, 256, (side, side, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "png", compress_level=0)
    return written.getvalue()


def all_at_once(count: int, ask: Callable[[], httpx.Response]) -> list[httpx.Response]:
    with ThreadPoolExecutor(count) as pool:
        return [future.result(ENDS_S) for future in [pool.submit(ask) for _ in range(count)]]


def worker(server: RunningServer) -> psutil.Process:
    return psutil.Process(server.pid_of(WORKER))


def connections(process: psutil.Process) -> int:
    return len(process.net_connections("tcp"))


@contextmanager
def most(read: Callable[[], int]) -> Iterator[list[int]]:
    """The largest value that is read in the block, in the list."""
    seen, over = [read()], threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            seen[0] = max(seen[0], read())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_predictions_beyond_capacity_are_told_to_wait_and_memory_stays_bounded(server: RunningServer) -> None:
    image, process = noise(1200), worker(server)
    before = process.memory_info().rss
    with most(lambda: process.memory_info().rss) as largest:
        replies = all_at_once(48, lambda: predict(server, image, image))
    statuses = {reply.status_code for reply in replies}
    assert statuses == {200, 429}
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in replies if reply.status_code == 429)
    assert largest[0] - before < GROWTH_MB * MB, (largest[0] - before) / MB
    assert predict(server).status_code == 200


def test_a_full_queue_of_tasks_says_so_and_takes_tasks_again_when_there_is_room(server: RunningServer) -> None:
    first = learn(server)
    assert first.status_code == 202
    replies = all_at_once(12, lambda: learn(server))
    assert {reply.status_code for reply in replies} == {429}
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in replies)
    assert list((server.data_dir / "incoming").glob("*")) == []
    assert server.client.delete(f"/tasks/{first.json()['id']}").status_code == 200
    again = learn(server)
    assert again.status_code == 202
    server.client.delete(f"/tasks/{again.json()['id']}")


FORM = b"Host: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 100000\r\n\r\n"
PART = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'


def test_batches_that_wait_to_be_checked_hold_up_nobody_else(server: RunningServer) -> None:
    """More of them than the service has threads for small things; each is refused in the end, for its last image."""
    written = io.BytesIO()
    Image.new("RGB", (2000, 2000), "teal").save(written, "png")
    images = [("images", ("a.png", data, "image/png")) for data in [written.getvalue()] * 6 + [b"no image"]]
    task = server.client.get("/tasks").json()["items"][0]["id"]

    def send() -> httpx.Response:
        return httpx.post(f"{server.url}/learn", files=images, data={"labels": ["3"] * 7}, timeout=ENDS_S)

    with ThreadPoolExecutor(BATCHES) as pool:
        batches = [pool.submit(send) for _ in range(BATCHES)]
        server.wait_for(lambda: len(list(server.data_dir.glob("**/batch-*"))) == BATCHES, ENDS_S, "they do not come in")
        told = server.client.get(f"/tasks/{task}/events")
        assert (told.status_code, [batch.done() for batch in batches]) == (200, [False] * BATCHES)
        assert {batch.result(ENDS_S).status_code for batch in batches} == {415}


@pytest.mark.parametrize(
    ("start", "ending"),
    [
        (b"POST /predict HTTP/1.1\r\nHost: local", b""),
        (b"POST /predict HTTP/1.1\r\n" + FORM + PART, b"HTTP/1.1 408 "),
        (b"POST /learn HTTP/1.1\r\n" + FORM + PART, b"HTTP/1.1 408 "),
    ],
    ids=["head", "predict", "learn"],
)
def test_clients_that_send_a_byte_a_second_tie_up_nothing_and_are_cut_off(
    server: RunningServer, start: bytes, ending: bytes
) -> None:
    process = worker(server)
    handles, sockets, threads = process.num_fds(), connections(process), process.num_threads()
    with ExitStack() as stack, most(process.num_threads) as largest:
        slow = [stack.enter_context(connected(server)) for _ in range(SLOW)]
        for connection in slow:
            connection.sendall(start)
        heard = drip(slow, lambda: predict(server))
        assert process.num_fds() <= handles + SLOW + POOLED
    assert largest[0] <= threads + THREADS
    assert {bytes(said[: len(ending)]) for said in heard.values()} == {ending}
    assert ending or not any(heard.values())
    server.wait_for(lambda: connections(process) <= sockets, ENDS_S, "connections stay open")
    assert list((server.data_dir / "incoming").glob("*")) == []


def connected(server: RunningServer) -> "closing[socket.socket]":
    return closing(socket.create_connection(("127.0.0.1", server.port), timeout=ENDS_S))


def drip(slow: list[socket.socket], meanwhile: Callable[[], httpx.Response]) -> dict[socket.socket, bytearray]:
    """A byte a second to each until the server has closed them all; what each was told before."""
    heard = {connection: bytearray() for connection in slow}
    left, end = set(slow), time.monotonic() + ENDS_S
    while left:
        assert time.monotonic() < end, f"{len(left)} are still open"
        reply = meanwhile()
        assert reply.status_code == 200, reply.text
        for connection in list(left):
            if not said(connection, heard[connection]):
                left.discard(connection)
        time.sleep(1 if left else 0)
    return heard


def said(connection: socket.socket, heard: bytearray) -> bool:
    """Send a byte and gather what came; False once the server has closed."""
    try:
        while select.select([connection], [], [], 0)[0]:
            data = connection.recv(65536)
            if not data:
                return False
            heard += data
        connection.sendall(b"a")
    except ConnectionError:
        return False
    return True


def test_clients_that_never_read_tie_up_nothing_and_are_let_go(server: RunningServer) -> None:
    process = worker(server)
    task = server.client.post("/tasks", json={}).json()["id"]
    sockets, before = connections(process), process.memory_info().rss
    exports = b"GET /versions/6/export HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20
    events = f"GET /tasks/{task}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with ExitStack() as stack, most(lambda: process.memory_info().rss) as largest:
        for request in [exports] * 20 + [events] * 20:
            stack.enter_context(deaf(server, request))
        for _ in range(10):
            assert predict(server).status_code == 200
        server.wait_for(
            lambda: connections(process) <= sockets + 20, ENDS_S, "exports are still held for who never reads"
        )
        assert server.client.delete(f"/tasks/{task}").status_code == 200
        server.wait_for(lambda: connections(process) <= sockets, ENDS_S, "connections stay open")
    assert largest[0] - before < GROWTH_MB * MB, (largest[0] - before) / MB
    assert server.client.get("/versions/6/export").status_code == 200


@contextmanager
def deaf(server: RunningServer, request: bytes) -> Iterator[socket.socket]:
    """A connection that has asked and takes as little of the answer as the kernel lets it."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(request)
        yield connection


def test_one_connection_too_many_is_told_to_wait(server: RunningServer) -> None:
    with ExitStack() as stack:
        for _ in range(int(SETTINGS["limits.connections"])):
            stack.enter_context(connected(server))
        with connected(server) as late:
            told = late.recv(65536)
        assert told.startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: 1\r\n" in told.lower()
    server.wait_for(lambda: predict(server).status_code == 200, ENDS_S, "the server does not recover")


def test_a_body_that_finds_the_memory_full_is_turned_away_before_it_is_whole(server: RunningServer) -> None:
    image = noise(2300)
    part = len(image) * 2 // 3
    head = (
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(image)}\r\n\r\n"
    )
    with connected(server) as first, connected(server) as second:
        for connection in (first, second):
            connection.sendall(head.encode() + image[:part])
        [late] = select.select([first, second], [], [], ENDS_S)[0]
        assert late.recv(65536).startswith(b"HTTP/1.1 429 ")
        other = second if late is first else first
        other.sendall(image[part:])
        assert other.recv(65536).startswith(b"HTTP/1.1 200 ")
