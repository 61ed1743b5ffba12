"""One request to a server: sent, tried again where that is safe, its refusal turned into an error of the tree."""

import os
import random
import re
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from everclass.errors import NoAnswer, NotTheContract, Problem, problem
from everclass.multipart import Multipart

KEY = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}")
RETRIED = frozenset({429, 502, 503, 504})
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 60.0
TRANSFER_TIMEOUT_S = 600.0
Model = TypeVar("Model", bound=BaseModel)
Query = Mapping[str, str | int | bool | None]


@dataclass(frozen=True)
class Patience:
    """How long one waits for an answer, and how often and how long one tries again.

    `timeout_s` holds for every call; where none is given it is 60 s, and 600 s for calls that move images or archives.
    No try begins later than `within_s` after the first one, where that is given. The pause before try n is drawn
    between half and all of `first_pause_s`·2ⁿ, or is the server's own Retry-After; the pauses of one call never add up
    to more than `pauses_s`.
    """

    timeout_s: float | None = None
    retries: int = 8
    first_pause_s: float = 0.2
    pauses_s: float = 60.0
    within_s: float | None = None

    @property
    def answer_s(self) -> float:
        """Seconds without a sign of life after which a small call is given up."""
        return ANSWER_TIMEOUT_S if self.timeout_s is None else self.timeout_s

    @property
    def transfer_s(self) -> float:
        """The same of a call that moves images or archives, which a server has to look at or to make."""
        return TRANSFER_TIMEOUT_S if self.timeout_s is None else self.timeout_s

    def pause_s(self, tried: int, asked_s: float | None) -> float:
        """Seconds to wait after `tried` tries, where the server asked for `asked_s`."""
        if asked_s is not None:
            return asked_s
        return self.first_pause_s * 2.0 ** (tried - 1) * random.uniform(0.5, 1.0)


IMPATIENT = Patience(retries=0)


class Transport:
    """A connection pool to one server. Safe for several threads. Every call is safe to repeat: writes carry a key."""

    def __init__(
        self, url: str, key: str | None, patience: Patience, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.url = _checked_url(url)
        self.patience = patience
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {_clean(key)}"} if key else {},
            timeout=_timeout(patience.answer_s),
            trust_env=not _is_loopback(self.url),
            verify=_trusted(),
        )

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        json: object = None,
        body: Multipart | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> httpx.Response:
        """The answer with a status below 400; raises NoAnswer or a Problem after the last try.

        Anything but GET goes out under `idempotency_key`, or one made here that stays the same over all tries.
        """
        kept = {**(headers or {})}
        if method != "GET":
            kept["Idempotency-Key"] = idempotency_key or uuid.uuid4().hex
        if isinstance(body, Multipart):
            kept |= body.headers
        return self._try(
            lambda: self._http.send(
                self._http.build_request(
                    method,
                    path,
                    params=_written(query),
                    json=json,
                    content=body,
                    headers=kept,
                    timeout=_timeout(self.patience.transfer_s) if body is not None else httpx.USE_CLIENT_DEFAULT,
                )
            )
        )

    def probe(self, path: str) -> dict[str, Any]:
        """The JSON object at `path`, whatever its status, at the first try; raises NoAnswer or NotTheContract."""
        request = self._http.build_request("GET", path)
        try:
            return json_object(self._http.send(request))
        except httpx.TransportError as error:
            raise NoAnswer(str(request.url), _cause(error)) from error

    @contextmanager
    def stream(
        self, path: str, *, query: Query | None = None, timeout_s: float | None = None, accept: str = "*/*"
    ) -> Iterator[httpx.Response]:
        """The answer to a GET with its body still to come; its opening is tried again like a call's."""
        timeout = _timeout(self.patience.answer_s if timeout_s is None else timeout_s)
        request = self._http.build_request(
            "GET", path, params=_written(query), headers={"Accept": accept}, timeout=timeout
        )
        response = self._try(lambda: self._http.send(request, stream=True))
        try:
            yield response
        except httpx.TransportError as error:
            raise NoAnswer(str(request.url), _cause(error)) from error
        finally:
            response.close()

    def _try(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        left_s = self.patience.pauses_s
        end = float("inf") if self.patience.within_s is None else time.monotonic() + self.patience.within_s
        tried = 0
        while True:
            tried += 1
            try:
                return _checked(send)
            except (NoAnswer, Problem) as error:
                pause_s = self.patience.pause_s(tried, getattr(error, "retry_after_s", None))
                left_s -= pause_s
                if tried > self.patience.retries or left_s < 0 or not _may_repeat(error):
                    raise
                if time.monotonic() + pause_s > end:
                    raise
            self._sleep(pause_s)


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(CONNECT_TIMEOUT_S, seconds))


def json_object(response: httpx.Response) -> dict[str, Any]:
    """The body as a JSON object; raises NotTheContract for anything else."""
    try:
        value = response.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise NotTheContract(f"{response.url} did not answer with a JSON object; is this an Everclass server?")
    return value


def result(kind: type[Model], answer: httpx.Response | dict[str, Any] | str) -> Model:
    """An answer, or a JSON object of one, as a value of type `kind`; raises NotTheContract where it is none."""
    try:
        if isinstance(answer, str):
            return kind.model_validate_json(answer)
        return kind.model_validate(answer if isinstance(answer, dict) else json_object(answer))
    except ValidationError as error:
        raise NotTheContract(f"the answer is no {kind.__name__}: {error}") from None


def _checked(send: Callable[[], httpx.Response]) -> httpx.Response:
    try:
        response = send()
        if response.status_code >= 400:
            response.read()
    except httpx.TransportError as error:
        raise NoAnswer(str(error.request.url), _cause(error)) from error
    except httpx.DecodingError as error:
        raise NotTheContract(f"the answer cannot be unpacked: {error}") from None
    if response.status_code < 400:
        return response
    response.close()
    raise problem(response.status_code, _problem_body(response), retry_after_s(response.headers.get("Retry-After")))


def _problem_body(response: httpx.Response) -> dict[str, Any]:
    try:
        return json_object(response)
    except NotTheContract:
        return {"detail": response.text[:200]}


def retry_after_s(value: str | None) -> float | None:
    """Seconds from now of a Retry-After header, which is a number of seconds or a date; None where there is none."""
    if value is None:
        return None
    if value.isascii() and value.strip().isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _may_repeat(error: NoAnswer | Problem) -> bool:
    """A 409 is repeated only where the server says when: the first try of the same key is still in flight."""
    if isinstance(error, NoAnswer):
        return True
    return error.status in RETRIED or (error.status == 409 and error.retry_after_s is not None)


def _written(query: Query | None) -> dict[str, str]:
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}


def _checked_url(url: str) -> str:
    """The URL without slashes at its end; ValueError where it is none."""
    try:
        httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is no address of a server: {error}") from None
    return url.rstrip("/")


def _clean(key: str) -> str:
    """The key without the white space around it, as a file or a shell leaves it; ValueError, without it, for no key."""
    found = key.strip()
    if not KEY.fullmatch(found):
        raise ValueError("the API key holds characters that no key has")
    return found


def _cause(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.LocalProtocolError):
        # Its words quote the header that is wrong, whatever stands in it.
        return "the request cannot be sent as it is"
    return str(error) or type(error).__name__


def _trusted() -> ssl.SSLContext | bool:
    """Whose certificates are believed: those in the file that SSL_CERT_FILE names, on loopback too, or the usual.

    Raises ValueError where that file cannot be read or holds none.
    """
    file = os.environ.get("SSL_CERT_FILE")
    if not file:
        return True
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        raise ValueError(f"SSL_CERT_FILE: {file} cannot be used: {_words(error)}") from None


def _words(error: OSError) -> str:
    """What OpenSSL says of a file that holds no certificate helps nobody."""
    return "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror or str(error)


def _is_loopback(url: str) -> bool:
    """Whether the server is on this machine, where a proxy from the environment has no business."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
