"""What the door found out about a request, for the routes: who, from where, under which id, and what it brought."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from conch_ollama.server.access import Caller
from conch_ollama.server.settings import Address

if TYPE_CHECKING:
    from starlette.requests import Request

    from conch_ollama.server.errors import Refusal

KEY = "conch.visitor"
BODY = "conch.body"


@dataclass(slots=True)
class Course:
    """What becomes of a request: the refusal that it ended with; `answered`: an answer's line in the audit tells it."""

    refusal: Refusal | None = None
    answered: bool = False


@dataclass(slots=True)
class Visitor:
    """`address` is the client's own, through trusted proxies; None for a Unix socket."""

    caller: Caller
    address: Address | None
    request_id: str
    course: Course = field(default_factory=Course)

    @property
    def address_text(self) -> str:
        """For logs and the queue; "" where there is no address."""
        return "" if self.address is None else str(self.address)


def visitor_of(request: Request) -> Visitor:
    """Who sent this request."""
    found: Visitor = request.scope[KEY]
    return found


def raw_body(request: Request) -> bytes:
    """What the request brought, which the door has read to its end."""
    found: bytes = request.scope[BODY]
    return found
