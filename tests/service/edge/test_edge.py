"""What holds for every request, whatever it asks for."""

import asyncio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from service.edge.edge import HEAD, Edge, Traffic
from service.metrics import Metrics
from tests.service.asgi import ask, exchange, scope


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello", headers={"x-head": str(request.scope.get(HEAD, False))})


async def unread(request: Request) -> PlainTextResponse:
    return PlainTextResponse("no", 413)


async def pieces(request: Request) -> StreamingResponse:
    return StreamingResponse(iter(["a", "b"]))


def edge(traffic: Traffic | None = None, metrics: Metrics | None = None) -> Edge:
    routes = [
        Route("/hello", hello),
        Route("/unread", unread, methods=["POST"]),
        Route("/pieces", pieces),
        Route("/livez", hello),
    ]
    return Edge(Starlette(routes=routes), traffic or Traffic(), metrics or Metrics())


def test_head_is_get_without_the_body() -> None:
    reply = ask(edge(), scope("HEAD", "/hello"))
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-length"] == "5"
    assert reply.headers["x-head"] == "True"
    assert ask(edge(), scope("HEAD", "/pieces")).body == b""


def test_a_body_that_nobody_read_is_taken_before_the_answer_so_that_the_client_sees_it() -> None:
    request = scope("POST", "/unread", {"content-length": "9"})
    reply = ask(edge(), request, [b"abc", b"def", b"ghi"])
    assert (reply.status, reply.chunks_taken) == (413, 3)


def test_a_client_that_waits_for_the_go_ahead_is_answered_without_it() -> None:
    request = scope("POST", "/unread", {"content-length": "9", "expect": "100-continue"})
    reply = ask(edge(), request, [b"abc"])
    assert (reply.status, reply.chunks_taken) == (413, 0)


def test_a_body_of_two_lengths_is_refused() -> None:
    reply = ask(edge(), scope("POST", "/unread", {"content-length": "3", "transfer-encoding": "chunked"}), [b"abc"])
    assert (reply.status, reply.headers["connection"]) == (400, "close")


def test_while_draining_probes_are_answered_and_new_work_is_turned_away() -> None:
    door = edge(Traffic(draining=True))
    assert ask(door, scope(path="/livez")).status == 200
    reply = ask(door, scope(path="/hello"))
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")


def test_draining_waits_for_requests_under_way_but_not_for_ever() -> None:
    async def story() -> tuple[bool, bool, bool]:
        traffic = Traffic()
        at_rest = await traffic.drained(1)
        traffic.entered()
        too_long = await traffic.drained(0.01)
        asyncio.get_running_loop().call_later(0.02, traffic.left)
        return at_rest, too_long, await traffic.drained(5)

    assert asyncio.run(story()) == (True, False, True)


def test_every_answer_is_counted_by_route_and_status() -> None:
    metrics, traffic = Metrics(), Traffic()
    ask(edge(traffic, metrics), scope(path="/hello"))
    ask(edge(traffic, metrics), scope(path="/nowhere"))
    ask(edge(traffic, metrics), scope("BREW", "/nowhere"))
    text = metrics.text().decode()
    assert 'everclass_requests_total{method="GET",route="none",status="404"} 1.0' in text
    assert 'method="other"' in text
    assert "BREW" not in text
    assert traffic.in_flight == 0


def test_every_answer_forbids_browsers_what_they_need_not_do() -> None:
    headers = ask(edge(Traffic(draining=True)), scope(path="/hello")).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert ask(edge(), scope(path="/hello")).headers["cache-control"] == "no-store"


def test_an_error_in_the_application_is_counted_as_500_and_leaves_nothing_under_way() -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("broken")

    metrics, traffic = Metrics(), Traffic()
    try:
        ask(Edge(broken, traffic, metrics), scope())
    except RuntimeError:
        assert 'status="500"' in metrics.text().decode()
    assert traffic.in_flight == 0


def test_what_is_not_http_passes_through() -> None:
    seen = []

    async def inner(request: object, receive: object, send: object) -> None:
        seen.append(request)

    asyncio.run(exchange(Edge(inner, Traffic(), Metrics()), {"type": "lifespan"}, []))
    assert seen == [{"type": "lifespan"}]
