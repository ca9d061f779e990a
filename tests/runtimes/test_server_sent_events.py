"""Events and lines out of bytes, however they are cut."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conch_ollama.runtimes.http_door import lines
from conch_ollama.runtimes.server_sent_events import events

TEXTS = st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1), max_size=6)


async def _in_pieces(data: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        yield data[start:end]


def _events(data: bytes, cuts: list[int]) -> list[bytes]:
    async def all_of() -> list[bytes]:
        return [event async for event in events(_in_pieces(data, cuts))]

    return asyncio.run(all_of())


@given(TEXTS, st.lists(st.integers(0, 10_000), max_size=12), st.sampled_from(["\n", "\r\n", "\r"]))
def test_events_come_whole_wherever_they_are_cut(texts: list[str], cuts: list[int], end: str) -> None:
    data = "".join(f": a comment{end}event: x{end}data: {text}{end}{end}" for text in texts).encode()
    wanted = [text.encode() for text in texts if text != "[DONE]"]
    assert _events(data, cuts) == wanted


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"data: {}\n\ndata: [DONE]\n\n", [b"{}"]),
        (b"data:{}\n\n", [b"{}"]),
        (b"data: {\ndata: }\n\n", [b"{ }"]),
        (b"data: 1\n\ndata: 2", [b"1", b"2"]),
        (b": ping\n\n\n\ndata: 1\n\n", [b"1"]),
        (b"", []),
    ],
)
def test_events(data: bytes, wanted: list[bytes]) -> None:
    assert _events(data, []) == wanted


@given(TEXTS, st.lists(st.integers(0, 10_000), max_size=12))
def test_lines_come_whole_wherever_they_are_cut(texts: list[str], cuts: list[int]) -> None:
    async def all_of() -> list[bytes]:
        return [line async for line in lines(_in_pieces("\n".join(texts).encode(), cuts))]

    assert asyncio.run(all_of()) == [stripped for text in texts if (stripped := text.encode().strip())]
