"""llama.cpp's events of /v1/responses, completed: places, numbers, what it held back, what it never says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conch_ollama.errors import RuntimeFailedError
from conch_ollama.runtimes.llama_responses import Frame, ResponseStream
from conch_ollama.runtimes.protocol import compact

FRAME = Frame("海螺", {"temperature": 0.5, "tools": [{"type": "function", "name": "f"}], "metadata": None}, 9, 99, 5)
THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
SAID = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": 'a "b" 海'}]}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"x":1}'}


def sse(kind: str, **data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), compact({"type": kind, **data}))


def added(item: dict[str, Any]) -> bytes:
    empty = {"arguments": ""} if "arguments" in item else {"content": []}
    return sse("response.output_item.added", item=item | empty | {"status": "in_progress"})


def delta(name: str, item_id: str, text: str) -> bytes:
    return sse(f"response.{name}.delta", item_id=item_id, delta=text)


def begin() -> bytes:
    response = {"id": "resp_1", "object": "response", "status": "in_progress"}
    return sse("response.created", response=response) + sse("response.in_progress", response=response)


def end(*output: dict[str, Any], tokens: int = 4) -> bytes:
    usage = {
        "input_tokens": 20,
        "output_tokens": tokens,
        "total_tokens": 20 + tokens,
        "input_tokens_details": {"cached_tokens": 3},
    }
    response = {"id": "resp_1", "status": "completed", "model": "conch", "created_at": 7, "output": list(output)}
    return sse("response.completed", response=response | {"usage": usage})


def events_of(raw: bytes) -> list[dict[str, Any]]:
    found = []
    for event in raw.decode().removesuffix("\n\n").split("\n\n"):
        head, data = event.split("\ndata: ")
        found.append(json.loads(data))
        assert head == f"event: {found[-1]['type']}"
    return found


def completed(raw: bytes, frame: Frame = FRAME) -> list[dict[str, Any]]:
    stream = ResponseStream(frame)
    found = events_of(stream.feed(raw) + stream.end())
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def places(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    kept = [event for event in events if "output_index" in event]
    return [
        (event["type"].removeprefix("response."), event["output_index"], event.get("content_index")) for event in kept
    ]


def test_every_kind_of_item_is_told_from_its_beginning_to_its_end() -> None:
    raw = begin() + added(THOUGHT) + delta("reasoning_text", "rs_1", "hm") + added(SAID)
    raw += sse("response.content_part.added", item_id="msg_1", part={"type": "output_text", "text": ""})
    raw += delta("output_text", "msg_1", 'a "b"') + delta("output_text", "msg_1", " 海") + added(CALL)
    raw += delta("function_call_arguments", "fc_1", '{"x"') + delta("function_call_arguments", "fc_1", ":1}")
    raw += sse("response.output_text.done", item_id="msg_1", text="x") + end(THOUGHT, SAID, CALL)
    events = completed(raw)
    assert places(events) == [
        ("output_item.added", 0, None),
        ("content_part.added", 0, 0),
        ("reasoning_text.delta", 0, 0),
        ("output_item.added", 1, None),
        ("content_part.added", 1, 0),
        ("output_text.delta", 1, 0),
        ("output_text.delta", 1, 0),
        ("output_item.added", 2, None),
        ("function_call_arguments.delta", 2, None),
        ("function_call_arguments.delta", 2, None),
        ("reasoning_text.done", 0, 0),
        ("content_part.done", 0, 0),
        ("output_item.done", 0, None),
        ("output_text.done", 1, 0),
        ("content_part.done", 1, 0),
        ("output_item.done", 1, None),
        ("function_call_arguments.done", 2, None),
        ("output_item.done", 2, None),
    ]
    done = {event["type"].removeprefix("response."): event for event in events}
    assert done["output_text.done"]["text"] == 'a "b" 海'
    assert done["output_text.delta"]["logprobs"] == []
    assert (done["function_call_arguments.done"]["name"], done["function_call_arguments.done"]["arguments"]) == (
        "f",
        '{"x":1}',
    )
    last = events[-1]["response"]
    assert (last["status"], last["model"], last["created_at"]) == ("completed", "海螺", 5)
    assert [(item["id"], item["status"]) for item in last["output"]] == [
        ("rs_1", "completed"),
        ("msg_1", "completed"),
        ("fc_1", "completed"),
    ]
    assert list(last)[-1] == "usage"


def test_a_response_repeats_what_was_asked() -> None:
    created = completed(begin() + end())[0]["response"]
    assert (created["status"], created["output"], created["usage"]) == ("in_progress", [], None)
    assert (created["temperature"], created["tools"], created["metadata"]) == (0.5, FRAME.asked["tools"], {})
    assert (created["tool_choice"], created["parallel_tool_calls"], created["error"]) == ("auto", True, None)


def test_pieces_may_end_anywhere_and_comments_pass() -> None:
    raw = begin() + b":\n\n" + added(SAID) + delta("output_text", "msg_1", 'a "b" 海') + end(SAID)
    whole, cut = ResponseStream(FRAME), ResponseStream(FRAME)
    found = whole.feed(raw)
    assert b"".join(cut.feed(raw[at : at + 1]) for at in range(len(raw))) == found
    assert found.count(b"\n\n:\n\n") == 1
    assert whole.end() == b""


def test_what_was_held_back_until_the_end_is_said() -> None:
    events = completed(begin() + added(SAID) + delta("output_text", "msg_1", 'a "') + end(SAID, CALL))
    said = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert said == ['a "', 'b" 海']
    assert ("output_item.added", 1, None) in places(events)
    called = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    assert called == ['{"x":1}']


def test_what_was_said_stays_said() -> None:
    events = completed(begin() + added(SAID) + delta("output_text", "msg_1", "\n\n") + added(CALL) + end(CALL))
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert [item["id"] for item in done] == ["msg_1", "fc_1"]
    assert done[0]["content"][0]["text"] == "\n\n"
    assert events[-1]["response"]["output"] == done


@pytest.mark.parametrize(("limit", "num_ctx"), [(4, 99), (None, 24), (9, 24)])
def test_an_answer_that_was_cut_is_incomplete(limit: int | None, num_ctx: int) -> None:
    frame = Frame("m", {}, limit, num_ctx, 5)
    raw = begin() + added(SAID) + delta("output_text", "msg_1", 'a "b" 海') + end(SAID)
    *_, done, last = completed(raw, frame)
    assert (done["item"]["status"], last["type"]) == ("incomplete", "response.incomplete")
    assert last["response"]["status"] == "incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert completed(raw, Frame("m", {}, 5, 25, 5))[-1]["type"] == "response.completed"


def test_an_error_in_the_middle_is_raised() -> None:
    stream = ResponseStream(FRAME)
    stream.feed(begin() + added(SAID))
    with pytest.raises(RuntimeFailedError, match="all went wrong"):
        stream.feed(b'data: {"error":{"code":500,"message":"all went wrong","type":"server_error"}}\n\n')
