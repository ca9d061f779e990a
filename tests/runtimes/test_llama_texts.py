"""Pieces of text taken by their likeness: the same chunks as by reading each, whatever the pieces are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conch_ollama.runtimes.llama_chunks import ChatChunks, Chunks, CompletionChunks
from conch_ollama.runtimes.llama_models import ALIAS
from conch_ollama.runtimes.protocol import compact
from conch_ollama.runtimes.server_sent_events import Events

TAIL: dict[str, Any] = {"created": 1796065902, "id": "chatcmpl-1", "model": ALIAS, "system_fingerprint": "b1"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ['"', "\\", '\\"', '"}}],"created":1', '","x":"', "海螺", "🐚", "\n\n", '"usage":{', "data: ", "", " "]
)


def event(choice: dict[str, Any], created: int) -> bytes:
    """As llama.cpp writes it, keys in its order."""
    return compact({"choices": [choice], **TAIL, "created": TAIL["created"] + created})


def chat_event(delta: dict[str, Any], index: int = 0, created: int = 0, **more: Any) -> bytes:
    return event({"finish_reason": None, "index": index, "delta": delta, **more}, created)


def text_event(text: str, index: int = 0, created: int = 0, **more: Any) -> bytes:
    return event({"text": text, "index": index, "logprobs": None, "finish_reason": None, **more}, created)


def pieces_of(events: list[bytes], together: list[int]) -> list[bytes]:
    """The stream in pieces; those of `together` come with the one before."""
    pieces: list[bytes] = []
    for number, one in enumerate(events):
        raw = b"data: " + one + b"\n\n"
        if number in together and pieces:
            pieces[-1] += raw
        else:
            pieces.append(raw)
    return pieces


def read(chunks: Chunks, pieces: list[bytes], *, by_likeness: bool) -> tuple[list[Any], int]:
    """The data of the chunks, and how many were taken by their likeness."""
    reader, found, taken = Events(), [], 0
    for piece in pieces:
        like = chunks.text(piece) if by_likeness and not reader.pending else None
        if like is not None:
            taken += 1
            found.append(like.data)
        else:
            found += [chunk.data for data in reader.feed(piece) for chunk in chunks.feed(data)]
    return found + [chunk.data for chunk in chunks.end()], taken


EVENTS = st.one_of(
    st.builds(lambda text, n, s: chat_event({"content": text}, n, s), TEXT, st.integers(0, 1), st.integers(0, 1)),
    st.builds(lambda text: chat_event({"reasoning_content": text}), TEXT),
    st.builds(lambda text: chat_event({"content": text, "reasoning_content": ""}), TEXT),
    st.builds(lambda text: chat_event({"content": text}, logprobs={"content": [{"token": text}]}), TEXT),
    st.builds(lambda text: chat_event({"tool_calls": [{"function": {"arguments": text}}]}), TEXT),
    st.just(chat_event({}, finish_reason="stop")),
    st.just(json.dumps({"choices": [], **TAIL, "usage": {"completion_tokens": 1, "prompt_tokens": 2}}).encode()),
)


@given(st.lists(EVENTS, max_size=12), st.lists(st.integers(0, 12), max_size=3))
def test_a_chat_is_the_same(events: list[bytes], together: list[int]) -> None:
    pieces = pieces_of(events, together)
    assert (
        read(ChatChunks(ALIAS, "螺"), pieces, by_likeness=True)[0]
        == (read(ChatChunks(ALIAS, "螺"), pieces, by_likeness=False)[0])
    )


@given(st.lists(st.tuples(TEXT, st.integers(0, 1), st.integers(0, 1)), max_size=12))
def test_a_completion_is_the_same(texts: list[tuple[str, int, int]]) -> None:
    pieces = pieces_of([text_event(*text) for text in texts], [])
    assert (
        read(CompletionChunks(ALIAS, "m"), pieces, by_likeness=True)[0]
        == (read(CompletionChunks(ALIAS, "m"), pieces, by_likeness=False)[0])
    )


@pytest.mark.parametrize("make", [lambda text: chat_event({"content": text}), text_event], ids=["chat", "completion"])
def test_most_of_a_stream_is_taken(make: Any) -> None:
    kind = ChatChunks if make is not text_event else CompletionChunks
    pieces = pieces_of([make(text) for text in ("Ask", " the", " 螺", " 🐚", ' "it"', ".")], [])
    found, taken = read(kind(ALIAS, "m"), pieces, by_likeness=True)
    assert taken == 4  # not the first, nor the one with quotes
    assert {chunk["model"] for chunk in found} == {"m"}


def test_each_second_is_learnt_and_none_shows() -> None:
    pieces = pieces_of([chat_event({"content": "x"}, created=second // 3) for second in range(9)], [])
    found, taken = read(ChatChunks(ALIAS, "m"), pieces, by_likeness=True)
    assert taken == 6
    assert {chunk["created"] for chunk in found} == {TAIL["created"]}
