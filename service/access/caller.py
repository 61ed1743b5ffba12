"""Who sends a request, as the layers outside tell the routes."""

from dataclasses import dataclass

from service.edge.asgi import Scope as Request
from stream.keys import Key, Scope, Sender

PLACE = "everclass.caller"
OBJECT = "everclass.object"
"""Set in the scope by a route whose path does not say what it changed."""


@dataclass(frozen=True)
class Caller:
    """A key, or whoever asks a server without keys. `id` scopes idempotency keys, `name` stands in the logs."""

    id: str
    name: str
    scope: Scope
    images_per_day: int | None = None

    @property
    def sender(self) -> Sender:
        """The same, as the quota of images sees it."""
        return Sender(self.id, self.name, self.images_per_day)

    @classmethod
    def of(cls, key: Key) -> "Caller":
        """Who shows this key."""
        return cls(key.id, key.name, key.scope, key.images_per_day)


NOBODY = Caller("local", "local", Scope.ADMIN)
"""Who acts on a server without keys."""


def caller_of(scope: Request) -> Caller:
    """Who sends the request; only the open calls of a server with keys have no one."""
    caller: Caller = scope[PLACE]
    return caller
