"""From a checked body to a job: the model is found, defaults stand where the request is silent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from conch_ollama.server.answering import Job
from conch_ollama.server.errors import Refusal, ending
from conch_ollama.server.shim import shim_of
from conch_ollama.server.visitors import visitor_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from conch_ollama.server.registry import Served


async def find_model(request: Request, name: str | None) -> Served:
    """The model that the request may use. Raises Refusal."""
    visitor = visitor_of(request)
    return await shim_of(request).registry.find(name, visitor.caller, visitor.address)


async def job_for(request: Request, kind: str, body: Mapping[str, Any], endpoint: str) -> Job:
    """A job for the model that `body` names. `kind`: as Job has it. Raises Refusal."""
    shim = shim_of(request)
    if shim.draining:
        raise ending()  # a connection that was kept open
    visitor = visitor_of(request)
    served = await shim.registry.find(body.get("model"), visitor.caller, visitor.address)
    filled = _with_defaults(body, served, shim.settings.limits.max_tokens if kind in {"chat", "complete"} else None)
    if kind == "chat":
        filled["messages"] = _messages(filled["messages"], served.settings.system)
    return Job(served, visitor, kind, filled, endpoint)


def _with_defaults(body: Mapping[str, Any], served: Served, cap: int | None) -> dict[str, Any]:
    filled = {key: value for key, value in body.items() if value is not None}
    for key, value in served.settings.defaults.items():
        given = filled.setdefault(key, value)
        if isinstance(given, dict) and isinstance(value, dict):
            filled[key] = value | given
    if cap is not None:
        given = [key for key in ("max_tokens", "max_completion_tokens") if key in filled] or ["max_tokens"]
        for key in given:
            filled[key] = min(filled.get(key, cap), cap)
    return filled


def _messages(messages: list[dict[str, Any]], system: str | None) -> list[dict[str, Any]]:
    """`developer` is the newer name of `system`, which chat templates don't know."""
    found = [{**m, "role": "system"} if m["role"] == "developer" else m for m in messages]
    if system and all(m["role"] != "system" for m in found):
        found.insert(0, {"role": "system", "content": system})
    return found


def only_one(prompts: list[Any]) -> Any:
    """The only prompt of a list. Raises Refusal for more."""
    if len(prompts) != 1:
        raise Refusal(400, "Several prompts can't be answered in one stream.", "invalid_value", "prompt")
    return prompts[0]
