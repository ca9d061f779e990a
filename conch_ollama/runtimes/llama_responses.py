"""llama.cpp's /v1/responses completed: what OpenAI's schema has in its events and answers, and llama.cpp leaves out.

Pure. Each delta gets its places as bytes, unparsed. The events of an item's end are written out of the last event,
which holds the whole answer: llama.cpp lacks some of them, and what it held back until then. Source: OpenAI's reference
of the streaming events of its Responses API, and what openai-python and openai-node read of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conch_ollama.runtimes.llama_errors import refusal
from conch_ollama.runtimes.llama_events import Stream
from conch_ollama.runtimes.protocol import compact

_DELTA = re.compile(rb'"delta":"((?:[^"\\]|\\.)*)"')
_ID = b'"item_id":"'
#: Kind of an item -> the name of its events, the name of its text, what else its deltas have.
_KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "message": ("output_text", "text", {"content_index": 0, "logprobs": []}),
    "reasoning": ("reasoning_text", "text", {"content_index": 0}),
    "function_call": ("function_call_arguments", "arguments", {}),
}
#: What an answer repeats of its request, and what stands there where the request is silent.
_REPEATED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}
_FIXED: dict[str, Any] = {
    "object": "response",
    "status": "in_progress",
    "background": False,
    "error": None,
    "incomplete_details": None,
    "output": [],
    "previous_response_id": None,
    "store": False,
    "truncation": "disabled",
    "usage": None,
}


@dataclass(frozen=True)
class Frame:
    """What an answer is about. `limit`: the most tokens it may have, `num_ctx`: those with the prompt's."""

    name: str
    asked: Mapping[str, Any]
    limit: int | None
    num_ctx: int
    created: int

    def fields(self) -> dict[str, Any]:
        """A response that has just begun."""
        repeated = {key: value if (said := self.asked.get(key)) is None else said for key, value in _REPEATED.items()}
        return {**_FIXED, **repeated, "created_at": self.created, "model": self.name}

    def completed(self, response: Mapping[str, Any]) -> dict[str, Any]:
        """The end of a response. llama.cpp does not tell that it was cut: it is where it is as long as may be."""
        found = {**self.fields(), **response, "created_at": self.created, "model": self.name}
        found["output"] = [{"status": "completed", **item} for item in found["output"]]
        # It counts neither apart.
        usage = found["usage"] | {"output_tokens_details": {"reasoning_tokens": 0}}
        usage["input_tokens_details"] = {"cache_write_tokens": 0, **usage["input_tokens_details"]}
        limit = self.num_ctx if self.limit is None else self.limit
        if usage["output_tokens"] >= limit or usage["total_tokens"] >= self.num_ctx:
            found |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
            found["output"][-1:] = [item | {"status": "incomplete"} for item in found["output"][-1:]]
        del found["usage"]
        return found | {"usage": usage}  # at the end, where who counts tokens looks for it


@dataclass
class _Item:
    """An item of the answer. `place`: what its deltas get, `said`: their texts, in JSON."""

    index: int
    item: dict[str, Any]
    place: bytes
    said: list[bytes] = field(default_factory=list)

    def text(self) -> str:
        return str(json.loads(b'"%b"' % b"".join(self.said)))


class ResponseStream(Stream):
    """The events of one streamed answer."""

    def __init__(self, frame: Frame) -> None:
        super().__init__()
        self._frame = frame
        self._items: dict[bytes, _Item] = {}
        self._count = 0

    def event(self, event: bytes) -> bytes:
        head, _, data = event.partition(b"\ndata: ")
        if head.endswith(b".delta"):
            return self._delta(head, data)
        if event.startswith(b'data: {"error"'):
            raise refusal(200, event[6:])
        match head.removeprefix(b"event: ").decode():
            case "response.created" | "response.in_progress" as kind:
                told = json.loads(data)
                return self._event(kind, told | {"response": {**self._frame.fields(), **told["response"]}})
            case "response.output_item.added":
                return self._begun(json.loads(data)["item"])
            case "response.completed":
                return self._completed(json.loads(data))
            case kind if kind.startswith("response."):
                return b""  # said in _begun and _ended
            case _:
                return event + b"\n\n"  # a comment

    def _event(self, kind: str, data: Mapping[str, Any]) -> bytes:
        numbered = {"type": kind, **data, "sequence_number": self._count}
        self._count += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), compact(numbered))

    def _delta(self, head: bytes, data: bytes) -> bytes:
        start = data.index(_ID) + len(_ID)
        item = self._items[data[start : data.index(b'"', start)]]
        found = _DELTA.search(data)
        if found is not None:
            item.said.append(found[1])
        self._count += 1
        return b'%b\ndata: %b%b,"sequence_number":%d}\n\n' % (head, data[:-1], item.place, self._count - 1)

    def _begun(self, item: dict[str, Any]) -> bytes:
        name, field_name, places = _KINDS[item["type"]]
        index = len(self._items)
        place = {"output_index": index, **places}
        self._items[item["id"].encode()] = _Item(index, item, b"," + compact(place)[1:-1])
        out = self._event("response.output_item.added", {"output_index": index, "item": item})
        if field_name == "text":
            out += self._part("added", item["id"], index, _part(name, ""))
        return out

    def _part(self, what: str, item_id: str, index: int, part: Mapping[str, Any]) -> bytes:
        place = {"item_id": item_id, "output_index": index, "content_index": 0}
        return self._event(f"response.content_part.{what}", {**place, "part": part})

    def _ended(self, item: Mapping[str, Any]) -> bytes:
        """All that is left to say of an item that ends as this."""
        name, field_name, places = _KINDS[item["type"]]
        begun = self._items[item["id"].encode()]
        place = {"item_id": item["id"], "output_index": begun.index, **places}
        text, said = _text(item), begun.text()
        out = b""
        if len(text) > len(said) and text.startswith(said):
            out += self._event(f"response.{name}.delta", {**place, "delta": text[len(said) :]})
        called = {"name": item["name"]} if field_name == "arguments" else {}
        out += self._event(f"response.{name}.done", {**place, **called, field_name: text})
        if field_name == "text":
            out += self._part("done", item["id"], begun.index, _part(name, text))
        return out + self._event("response.output_item.done", {"output_index": begun.index, "item": item})

    def _completed(self, told: dict[str, Any]) -> bytes:
        output = told["response"]["output"]
        out = b"".join(
            self._begun(_without_text(item)) for item in output if item["id"].encode() not in self._items
        )  # called at the very end
        ended = {item["id"].encode(): item for item in output}
        # What was said stays said, even where llama.cpp thinks better of it.
        output = [ended.get(key) or _with_text(begun.item, begun.text()) for key, begun in self._items.items()]
        response = self._frame.completed({**told["response"], "output": output})
        out += b"".join(self._ended(item) for item in response["output"])
        kind = f"response.{response['status']}"
        return out + self._event(kind, {**told, "type": kind, "response": response})


def _part(name: str, text: str) -> dict[str, Any]:
    return {"type": name, "text": text} | ({"annotations": [], "logprobs": []} if name == "output_text" else {})


def _text(item: Mapping[str, Any]) -> str:
    return str(item["arguments"] if "arguments" in item else item["content"][0]["text"])


def _with_text(item: Mapping[str, Any], text: str) -> dict[str, Any]:
    name, field_name, _ = _KINDS[item["type"]]
    filled = {"arguments": text} if field_name == "arguments" else {"content": [_part(name, text)]}
    return {**item, **filled, "status": "completed"}


def _without_text(item: Mapping[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"arguments": ""} if "arguments" in item else {"content": []}
    return {**item, **empty, "status": "in_progress"}
