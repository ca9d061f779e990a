"""llama.cpp's events of /v1/messages, completed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conch_ollama.errors import RuntimeFailedError
from conch_ollama.runtimes.llama_messages import MessageStream, completed_message


def fed(*events: dict[str, Any]) -> list[dict[str, Any]]:
    stream = MessageStream("海螺")
    raw = b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)
    found = stream.feed(raw) + stream.end()
    return [json.loads(event.split(b"\ndata: ")[1]) for event in found.split(b"\n\n")[:-1]]


def test_blocks_begin_once_and_with_all_that_they_have() -> None:
    text = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    call = {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "f"}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
    found = fed({"type": "message_start", "message": {"model": "conch", "content": []}}, text, delta, text, delta, call)
    assert [event["type"] for event in found] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_start",
    ]
    assert found[0]["message"]["model"] == "海螺"
    assert found[-1]["content_block"] == {"type": "tool_use", "id": "t", "name": "f", "input": {}}


def test_a_stop_sequence_is_the_reason() -> None:
    (found,) = fed({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": "x"}, "usage": {}})
    assert found["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "x"}
    whole = completed_message({"model": "conch", "stop_reason": "end_turn", "stop_sequence": None}, "m")
    assert whole == {"model": "m", "stop_reason": "end_turn", "stop_sequence": None}


def test_an_error_in_the_middle_is_raised() -> None:
    stream = MessageStream("m")
    with pytest.raises(RuntimeFailedError, match="all went wrong"):
        stream.feed(b'event: error\ndata: {"code":500,"message":"all went wrong","type":"server_error"}\n\n')
