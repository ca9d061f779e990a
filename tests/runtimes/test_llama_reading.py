"""llama.cpp's answers read or handed over: the same chunks in the same order, whoever takes what."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conch_ollama.errors import RuntimeRefusedError
from conch_ollama.runtimes.llama_chunks import ChatChunks, Chunks
from conch_ollama.runtimes.llama_infill import InfillChunks
from conch_ollama.runtimes.llama_models import ALIAS
from conch_ollama.runtimes.llama_reading import Reading
from conch_ollama.runtimes.protocol import Chunk, Take
from tests.runtimes.test_llama_texts import EVENTS, chat_event, pieces_of, read


def reading(take: Take | None, chunks: Chunks | None = None) -> Reading:
    return Reading(SimpleNamespace(heard=0.0), chunks or ChatChunks(ALIAS, "螺"), take)  # type: ignore[arg-type]


@given(st.lists(EVENTS, max_size=12), st.lists(st.integers(0, 12), max_size=6), st.integers(0, 2**12 - 1))
def test_the_order_stays(events: list[bytes], together: list[int], willing: int) -> None:
    pieces = pieces_of(events, together)
    said: list[Any] = []
    offers = iter(range(100))

    def take(chunks: Sequence[Chunk]) -> bool:
        for chunk in chunks:
            assert "usage" not in chunk.data
            assert not any(choice["finish_reason"] for choice in chunk.data["choices"])
        if not willing >> next(offers) % 12 & 1:
            return False
        said.extend(chunk.data for chunk in chunks)
        return True

    one = reading(take)
    for piece in pieces:
        if not one.offered(piece):
            said += [chunk.data for chunk in one.read(piece)]
    said += [chunk.data for chunk in one.end()]
    assert said == read(ChatChunks(ALIAS, "螺"), pieces, by_likeness=False)[0]


def test_the_first_piece_is_offered_with_the_role_in_it() -> None:
    first = pieces_of([chat_event({"role": "assistant", "content": None}), chat_event({"content": "Ask"})], [1])
    taken: list[Chunk] = []
    one = reading(lambda chunks: taken.extend(chunks) is None)
    assert len(first) == 1
    assert one.offered(first[0])
    assert [chunk.data["choices"][0]["delta"].get("content") for chunk in taken] == [None, "Ask"]


def test_an_end_in_another_dialect_is_not_offered() -> None:
    """The finish reason and the usage stand in what is made of llama.cpp's event, not in the event."""
    taken: list[Chunk] = []
    one = reading(lambda chunks: taken.extend(chunks) is None, InfillChunks("螺"))
    assert one.offered(b'data: {"content":"a + b","stop":false}\n\n')
    last = b'data: {"content":"","stop":true,"stop_type":"eos","tokens_evaluated":23,"tokens_predicted":7}\n\n'
    assert not one.offered(last)
    assert [chunk.data["choices"][0]["text"] for chunk in taken] == ["a + b"]
    finish, usage = (chunk.data for chunk in one.read(last))
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"] == {"prompt_tokens": 23, "completion_tokens": 7, "total_tokens": 30}


def test_what_nobody_takes_is_read() -> None:
    one = reading(None)
    for piece in pieces_of([chat_event({"content": "Ask"})] * 3, []):
        assert not one.offered(piece)
        assert [chunk.data["choices"][0]["delta"] for chunk in one.read(piece)] == [{"content": "Ask"}]


def test_what_fails_in_taking_is_raised_where_the_answer_is_read() -> None:
    def take(chunks: Sequence[Chunk]) -> bool:
        raise ValueError("a fault of ours")

    one, piece = reading(take), pieces_of([chat_event({"content": "Ask"})], [])[0]
    assert not one.offered(piece)
    with pytest.raises(ValueError, match="a fault of ours"):
        one.read(piece)


@pytest.mark.bad_input("llama.cpp refuses a request after its answer has begun")
def test_an_error_is_raised_where_the_answer_is_read() -> None:
    one = reading(lambda chunks: True)
    piece = b'data: {"error":{"code":400,"message":"too long","type":"invalid_request_error"}}\n\n'
    assert not one.offered(piece)
    with pytest.raises(RuntimeRefusedError, match="too long"):
        one.read(piece)
