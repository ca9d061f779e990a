"""OpenAI's dialect: chunks of a stream put right with the least work, and put together to a whole answer.

Pure. A chunk of a runtime passes as its bytes; it is parsed only where something must be moved in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from conch_ollama.runtimes.protocol import Chunk, compact
from conch_ollama.server.dialects.logprobs import plain_logprobs

_CREATED = re.compile(rb'"created": ?(\d+)')
_PLAIN = re.compile(rb'"object": ?"text_completion"')
_MODEL = re.compile(rb'"model": ?"(?:[^"\\]|\\.)*"')
DONE = b"data: [DONE]\n\n"
#: What may stand beside `choices` in a whole answer, besides the fields that every answer has.
_EXTRAS = ("system_fingerprint", "service_tier", "timings", "__verbose")


@lru_cache(256)
def _named(model: str) -> bytes:
    return b'"model":' + compact(model)


def event(raw: bytes) -> bytes:
    """One server-sent event."""
    return b"data: " + raw + b"\n\n"


class Rewriter:
    """Makes a runtime's chunks those of one answer: one `id`, one `created`, the model as the client named it.

    Keys are found by their bytes: inside a JSON string their quotes would be escaped. `usage` without having been
    asked for is left out, and beside `choices` it goes into a chunk of its own, which LobeChat needs.
    """

    def __init__(self, model: str, *, usage: bool, reasoning_field: str) -> None:
        self._model = model
        self._usage = usage
        self._reasoning = None if reasoning_field == "reasoning_content" else json.dumps(reasoning_field).encode()
        self._rename: tuple[bytes, bytes] | None = None
        self._created = self._stamp = b""
        self._plain = False
        self._said: dict[int, int] = {}

    def events(self, chunks: Iterable[Chunk]) -> bytes:
        """What is to be sent for chunks of the runtime: events, maybe none."""
        return b"".join(map(self._events, chunks))

    def _events(self, chunk: Chunk) -> bytes:
        raw = chunk.raw
        if not self._stamp:
            self._begin(raw)
        if self._plain and b'"logprobs":{' in raw:
            chunk = Chunk.of(chunk.data | {"choices": [self._told(choice) for choice in chunk.data["choices"]]})
            raw = chunk.raw
        if b'"usage"' in raw or b'_content":null' in raw or b'_content":""' in raw:
            return b"".join(event(self._fitted(compact(data))) for data in self._moved(chunk.data))
        return event(self._fitted(raw))

    def _begin(self, raw: bytes) -> None:
        created, model = _CREATED.search(raw), _MODEL.search(raw)
        self._created = b"0" if created is None else created[1]
        self._stamp = b'"created":' + self._created
        self._plain = _PLAIN.search(raw) is not None
        ours = _named(self._model)
        if model is not None and model[0] != ours:
            self._rename = (model[0], ours)

    def _fitted(self, raw: bytes) -> bytes:
        if self._rename is not None:
            raw = raw.replace(*self._rename, 1)
        if raw.find(self._stamp) < 0 and (found := _CREATED.search(raw)) is not None:
            raw = raw[: found.start(1)] + self._created + raw[found.end(1) :]
        if self._reasoning is not None and b'"reasoning_content":' in raw:
            raw = raw.replace(b'"reasoning_content":', self._reasoning + b":")
        return raw

    def _told(self, choice: dict[str, Any]) -> dict[str, Any]:
        """A choice of a plain completion with its logarithms in the shape of such."""
        index = int(choice.get("index") or 0)
        made = plain_logprobs(choice.get("logprobs"), self._said.get(index, 0))
        if made and made.get("text_offset"):
            self._said[index] = made["text_offset"][-1] + len(made["tokens"][-1])
        return choice | {"logprobs": made}

    def _moved(self, data: dict[str, Any]) -> Iterator[dict[str, Any]]:
        usage = data.get("usage")
        rest = {key: value for key, value in data.items() if key != "usage"}
        choices = [_without_empty_thought(choice) for choice in data.get("choices") or []]
        if choices:
            yield rest | {"choices": choices}
        if usage and self._usage:
            yield rest | {"choices": [], "usage": usage}


def _without_empty_thought(choice: dict[str, Any]) -> dict[str, Any]:
    # An empty `reasoning_content` wins over the real thought in LobeChat.
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return choice
    kept = {key: value for key, value in delta.items() if not (key in _THOUGHTS and not value)}
    return choice | {"delta": kept}


_THOUGHTS = ("reasoning_content", "reasoning")


class Choice:
    """One choice put together from its deltas."""

    def __init__(self) -> None:
        self.role = "assistant"
        self.content: list[str] = []
        self.thought: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int, dict[str, Any]] = {}
        self.text: list[str] = []
        self.logprobs: dict[str, Any] | None = None
        self.finish: str | None = None

    def add(self, choice: Mapping[str, Any]) -> None:
        """Take in one choice of a chunk."""
        delta = choice.get("delta") or {}
        self.role = delta.get("role") or self.role
        for key, into in (("content", self.content), ("refusal", self.refusal)):
            if delta.get(key):
                into.append(delta[key])
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            self.thought.append(thought)
        if choice.get("text"):
            self.text.append(choice["text"])
        for call in delta.get("tool_calls") or ():
            self._add_call(call)
        if choice.get("logprobs"):
            self.logprobs = _joined(self.logprobs or {}, choice["logprobs"])
        self.finish = choice.get("finish_reason") or self.finish

    def _add_call(self, call: Mapping[str, Any]) -> None:
        made = self.calls.setdefault(
            int(call.get("index") or 0), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        made["id"] = call.get("id") or made["id"]
        function = call.get("function") or {}
        made["function"]["name"] += function.get("name") or ""
        made["function"]["arguments"] += function.get("arguments") or ""

    def message(self, reasoning_field: str) -> dict[str, Any]:
        """The whole message; a thought only where there is one."""
        content = "".join(self.content)
        message: dict[str, Any] = {"role": self.role, "content": content if content or not self.calls else None}
        if self.refusal:
            message["refusal"] = "".join(self.refusal)
        if self.thought:
            message[reasoning_field] = "".join(self.thought)
        if self.calls:
            message["tool_calls"] = [self.calls[index] for index in sorted(self.calls)]
        return message


def _joined(before: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Log-probabilities of two pieces: lists one after another."""
    return before | {
        key: [*(before.get(key) or []), *value] if isinstance(value, list) else value for key, value in more.items()
    }


class Whole:
    """A whole answer, put together from the chunks of a stream."""

    def __init__(self) -> None:
        self.choices: dict[int, Choice] = {}
        self.first: dict[str, Any] = {}
        self.extras: dict[str, Any] = {}
        self.usage: dict[str, Any] | None = None

    def add(self, chunk: Chunk) -> None:
        """Take in one chunk."""
        data = chunk.data
        self.first = self.first or data
        self.usage = data.get("usage") or self.usage
        self.extras.update({key: data[key] for key in _EXTRAS if data.get(key) is not None})
        for choice in data.get("choices") or ():
            self.choices.setdefault(int(choice.get("index") or 0), Choice()).add(choice)

    def choice(self) -> Choice:
        """The first choice."""
        return self.choices[min(self.choices)] if self.choices else Choice()

    def chat(self, model: str, reasoning_field: str) -> dict[str, Any]:
        """`chat.completion`."""
        choices = [
            {
                "index": index,
                "message": choice.message(reasoning_field),
                "logprobs": choice.logprobs,
                "finish_reason": choice.finish or "stop",
            }
            for index, choice in sorted(self.choices.items())
        ]
        return self._answer("chat.completion", "chatcmpl-", model, choices)

    def text(self, model: str) -> dict[str, Any]:
        """`text_completion`."""
        choices = [
            {
                "index": index,
                "text": "".join(choice.text) or "".join(choice.content),
                "logprobs": plain_logprobs(choice.logprobs),
                "finish_reason": choice.finish or "stop",
            }
            for index, choice in sorted(self.choices.items())
        ]
        return self._answer("text_completion", "cmpl-", model, choices)

    def _answer(self, kind: str, prefix: str, model: str, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        answer = {
            "id": self.first.get("id") or prefix,
            "object": kind,
            "created": int(self.first.get("created") or 0),
            "model": model,
            "choices": list(choices),
            **self.extras,
        }
        if self.usage is not None:
            answer["usage"] = self.usage
        return answer
