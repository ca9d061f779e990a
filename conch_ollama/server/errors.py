"""Refusals, and how errors look in the dialects of OpenAI and Ollama. The only border between ours and the clients'.

Unexpected errors become an opaque 500: their traceback is the log's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from conch_ollama.errors import (
    ConchError,
    NoSpaceError,
    NotFoundError,
    NotSupportedError,
    OutputError,
    RuntimeBusyError,
    RuntimeRefusedError,
)

#: status -> OpenAI's `type` of an error
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    421: "permission_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
#: Statuses after which openai-python would try again although the same request fails the same way.
_POINTLESS = frozenset({500, 501, 504, 507})


@dataclass(eq=False)
class Refusal(Exception):  # noqa: N818 - what a client gets, not a fault of ours
    """A request that ends here: `status`, and what OpenAI's clients find in `code` and `param`.

    For the audit alone: `who` was recognised and refused all the same, `aside` is what the client is not told.
    """

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    who: str | None = None
    aside: str = ""

    def __str__(self) -> str:
        return self.message


def busy(status: int, message: str, retry_after: float, code: str) -> Refusal:
    """Come back later, in whole seconds."""
    return Refusal(status, message, code, headers={"retry-after": str(max(1, ceil(retry_after)))})


def ending() -> Refusal:
    """The server is about to end: another one may answer soon."""
    return busy(503, "The server is ending.", 5, "shutting_down")


def model_not_found(name: str, *, hidden: bool = False) -> Refusal:
    """For a model that is not there and for one that the caller may not see: both look the same to the client."""
    message = f"The model '{name}' does not exist or you do not have access to it."
    return Refusal(
        404, message, "model_not_found", "model", aside="It is there, but not for this caller." if hidden else ""
    )


def refusal_of(err: BaseException) -> Refusal:  # noqa: PLR0911 - one line for each kind
    """Any error as a refusal."""
    match err:
        case Refusal():
            return err
        case RuntimeRefusedError():
            status = err.status if 400 <= err.status < 500 else 502
            return Refusal(status, err.message, _refused_code(err))
        case RuntimeBusyError():
            return busy(503, err.message, err.retry_after, "overloaded")
        case NotFoundError():
            return Refusal(404, err.message, "model_not_found", "model")
        case NotSupportedError():
            return Refusal(501, err.message, "not_supported")
        case NoSpaceError():  # its words hold paths
            return Refusal(507, "No space is left here to keep that; the server's log says more.", "no_space")
        case OutputError():
            return Refusal(500, "That can't be kept here; the server's log says more.", "not_writable")
        case ConchError():
            return Refusal(502, err.message, "runtime_failed")
        case _:
            return Refusal(500, "Internal error; the server's log says more.", "internal_error")


def _refused_code(err: RuntimeRefusedError) -> str | None:
    # llama.cpp names its errors in `type`; clients look for OpenAI's name in `code`.
    if err.kind in {"exceed_context_size_error", "context_length_exceeded"}:
        return "context_length_exceeded"
    return None if err.kind == "invalid_request_error" else err.kind


def openai_error(refusal: Refusal) -> dict[str, Any]:
    """`{"error": {message, type, param, code}}`."""
    kind = TYPES.get(refusal.status, "server_error" if refusal.status >= 500 else "invalid_request_error")
    return {"error": {"message": refusal.message, "type": kind, "param": refusal.param, "code": refusal.code}}


def ollama_error(refusal: Refusal) -> dict[str, Any]:
    """`{"error": "text"}`."""
    return {"error": refusal.message}


def error_body(path: str, refusal: Refusal) -> dict[str, Any]:
    """In the dialect of the door that the client knocked at."""
    if path.startswith("/api/"):
        return ollama_error(refusal)
    return openai_error(refusal) | ({"type": "error"} if path.startswith("/v1/messages") else {})  # Anthropic's


def error_headers(refusal: Refusal) -> dict[str, str]:
    """Retry-After where there is one, and `x-should-retry: false` where a retry can't help."""
    headers = dict(refusal.headers)
    if refusal.status in _POINTLESS or (refusal.status < 500 and refusal.status not in {408, 429}):
        headers["x-should-retry"] = "false"
    return headers
