"""llama.cpp's /v1/messages completed: what Anthropic's events and answers have, and llama.cpp says otherwise or not.

Pure. Deltas are handed on as they are, unparsed. Source: Anthropic's reference of its Messages API and of its streams.
"""

from __future__ import annotations

import json
from typing import Any

from conch_ollama.runtimes.llama_errors import refusal
from conch_ollama.runtimes.llama_events import Stream
from conch_ollama.runtimes.protocol import compact

#: What a block of these kinds begins with besides what llama.cpp gives it.
_BEGINS: dict[str, dict[str, Any]] = {"tool_use": {"input": {}}, "thinking": {"signature": ""}}


def completed_message(message: dict[str, Any], name: str) -> dict[str, Any]:
    """A whole answer."""
    return stopped(message) | {"model": name}


def stopped(said: dict[str, Any]) -> dict[str, Any]:
    """Why an answer ended: of one that a stop sequence ended, llama.cpp tells the sequence only."""
    by_sequence = said.get("stop_sequence") is not None and said.get("stop_reason") == "end_turn"
    return said | ({"stop_reason": "stop_sequence"} if by_sequence else {})


class MessageStream(Stream):
    """The events of one streamed answer of the model `name`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._begun: set[int] = set()

    def event(self, event: bytes) -> bytes:
        head, _, data = event.partition(b"\ndata: ")
        match head:
            case b"event: message_start":
                told = json.loads(data)
                told["message"]["model"] = self._name
            case b"event: content_block_start":
                told = json.loads(data)
                if told["index"] in self._begun:  # said once more where something was held back to the end
                    return b""
                self._begun.add(told["index"])
                block = told["content_block"]
                block |= _BEGINS.get(block["type"], {})
            case b"event: message_delta":
                told = json.loads(data)
                told["delta"] = stopped(told["delta"])
            case b"event: error":
                raise refusal(200, b'{"error":%b}' % data)
            case _:
                return event + b"\n\n"
        return b"%b\ndata: %b\n\n" % (head, compact(told))
