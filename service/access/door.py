"""Who is let in: nobody without a key, unless there are no keys, and then only this machine.

A request without a good key is answered 401 whatever it is for, so that nobody learns which paths there are.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from fastapi import Request
from starlette.routing import BaseRoute, Match

from service.access.auditing import CHANGES_NOTHING, CHANGING, REFUSED, Auditor, Call, subject_of
from service.access.caller import NOBODY, PLACE, Caller, caller_of
from service.access.ring import KeyRing, lacking, unauthorised
from service.access.scopes import OPEN, Needed, needed
from service.edge.asgi import ASGIApp, Message, Receive, Scope, Send
from service.edge.guard import host_name, objection
from service.problems import Problem
from service.setting_groups import KeySettings, named
from stream.keys import Scope as KeyScope

BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/=-]{1,512})")


UNKNOWN = "unknown"
"""Stands in the audit log for a path that there is not."""


@dataclass(frozen=True, eq=False)
class Access:
    """What the door needs to know."""

    ring: KeyRing
    auditor: Auditor
    settings: KeySettings

    @property
    def metrics(self) -> Needed:
        """What `/metrics` asks for."""
        return OPEN if self.settings.metrics == OPEN else KeyScope(self.settings.metrics)


class Door:
    """Finds out who asks, tells the routes, and has it noted what was changed and who was refused."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute], access: Callable[[], Access]) -> None:
        self._app = app
        self._routes = routes
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; what is not HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        access = self._access()
        noted = self._noting(access, scope, send)
        try:
            caller = self._admit(access, scope)
        except Problem as problem:
            await problem.response()(scope, receive, noted)
            return
        if caller is not None:
            scope[PLACE] = caller
        await self._app(scope, receive, noted)

    def _admit(self, access: Access, scope: Scope) -> Caller | None:
        """Who asks; None for an open call of a server with keys. Raises Problem: 401, 403, 429."""
        if not access.ring.asks_for_keys:
            if (problem := objection(scope)) is not None:
                raise problem
            return NOBODY
        try:
            check_host(scope, access.settings)
            return access.ring.recognise(bearer(scope))
        except Problem:
            # Looked at only here: the way of a good key stays short.
            if self._is_open(access, scope):
                return None
            raise

    def _is_open(self, access: Access, scope: Scope) -> bool:
        return needed(f"{scope['method']} {self._route(scope)}", access.metrics) == OPEN

    def _route(self, scope: Scope) -> str | None:
        """The path of the route that the request is for; its template, not what was sent."""
        for route in self._routes:
            if route.matches(scope)[0] is Match.FULL:
                return str(getattr(route, "path_format", ""))
        return None

    def _noting(self, access: Access, scope: Scope, send: Send) -> Send:
        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._note(access, scope, message)
            await send(message)

        return noting

    async def _note(self, access: Access, scope: Scope, message: Message) -> None:
        status = message["status"]
        if status in REFUSED:
            call = self._call(scope, scope.get(PLACE) or _shown(access.ring, scope))
            access.auditor.refused(call, status)
        elif scope["method"] in CHANGING and (caller := scope.get(PLACE)) is not None:
            call = self._call(scope, caller)
            if call.route not in CHANGES_NOTHING and call.route != UNKNOWN:
                subject = subject_of(scope, dict(message.get("headers", ())))
                await asyncio.to_thread(access.auditor.changed, call, status, subject)

    def _call(self, scope: Scope, caller: Caller | None) -> Call:
        path = getattr(scope.get("route"), "path_format", None) or self._route(scope) or UNKNOWN
        return Call(scope["method"], path, _remote(scope), caller)


def _remote(scope: Scope) -> str | None:
    """The client's address; None where a proxy in front of us passed on something else."""
    if not scope.get("client"):
        return None
    remote = str(scope["client"][0])
    try:
        ip_address(remote)
    except ValueError:
        return None
    return remote


def check_host(scope: Scope, settings: KeySettings) -> None:
    """Problem 403 where only certain Host names are allowed and the request has another one."""
    allowed = named(settings.allowed_hosts)
    if not allowed:
        return
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    if host_name(host) not in allowed:
        raise Problem(403, f"this server does not answer to the name {host!r}")


def bearer(scope: Scope) -> str:
    """The token that the request shows. Problem 401 where there is none, or several."""
    shown = _authorization(scope)
    if not shown:
        raise unauthorised("this server needs a key: Authorization: Bearer KEY", wrong=False)
    found = BEARER.fullmatch(shown[0]) if len(shown) == 1 else None
    if found is None:
        raise unauthorised("the Authorization header has to be: Bearer KEY", wrong=True)
    return found[1]


async def authorise(request: Request) -> None:
    """Stands before every route: Problem 403 where the key is not good for this call."""
    access: Access = request.app.state.assembly.access
    needs = needed(f"{request.method} {request.scope['route'].path_format}", access.metrics)
    if needs != OPEN:
        caller = caller_of(request.scope)
        if not caller.scope.includes(needs):
            raise lacking(caller, needs)


def _authorization(scope: Scope) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]


def _shown(ring: KeyRing, scope: Scope) -> Caller | None:
    try:
        return ring.known(bearer(scope))
    except Problem:
        return None
