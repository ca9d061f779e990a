"""HTTP on loopback: bodies of each kind, and what is none."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from conch_ollama.runtimes.loopback import Line, ask
from conch_ollama.runtimes.loopback_answer import BrokenAnswerError, LoopbackAnswer, NotListeningError
from tests.parts.scripted_gguf import scripted_gguf

HEAD = b"HTTP/1.1 200 OK\r\n"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a head wakes on its own")
#: Of a length that no first piece has to be waited for.
LONG_HEAD = HEAD + b"X-Long: %b\r\n" % (b"x" * 200)


def answered(raw: bytes, work: Callable[[str], Awaitable[Any]], *later: bytes) -> Any:
    """`work` with the address of a server that says `raw` to whoever asks, `later` a moment after, and closes."""

    async def main() -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            for more in later:
                await asyncio.sleep(0.2)
                writer.write(more)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, asyncio.timeout(20):
            port = server.sockets[0].getsockname()[1]
            return await work(f"http://127.0.0.1:{port}")

    return asyncio.run(main())


async def read(address: str) -> tuple[int, bytes]:
    answer = await ask(address, "key", "POST", "/x")
    try:
        return answer.status, await answer.read()
    finally:
        answer.close()


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (HEAD + b"Content-Length: 2\r\n\r\nhi", b"hi"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ni\r\n0\r\n\r\n", b"hi"),
        (HEAD + b"\r\nhi", b"hi"),
        (HEAD + b"Content-Length: 0\r\n\r\n", b""),
    ],
)
def test_bodies(raw: bytes, body: bytes) -> None:
    assert answered(raw, read) == (200, body)


@pytest.mark.bad_input("a worker's answer that is no HTTP, or cut short")
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello\r\n\r\n",
        HEAD + b"Content-Length: many\r\n\r\n",
        HEAD + b"Content-Length: 5\r\n\r\nhi",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhi",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nx\r\nhi\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
    ],
)
def test_a_broken_answer(raw: bytes) -> None:
    with pytest.raises(BrokenAnswerError) as caught:
        answered(raw, read)
    assert not isinstance(caught.value, NotListeningError)


def test_nobody_there() -> None:
    with pytest.raises(NotListeningError):
        asyncio.run(read("http://127.0.0.1:9"))


def test_the_next_connection_is_opened_ahead_and_not_used_once_it_has_ended() -> None:
    """A server that closes the waiting connections of its own accord, as llama.cpp's does after a while."""

    async def main() -> None:
        opened: list[asyncio.StreamWriter] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            opened.append(writer)
            with contextlib.suppress(asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(HEAD + b"Content-Length: 2\r\n\r\nhi")
            writer.close()

        async def until(count: int) -> None:
            while len(opened) < count:
                await asyncio.sleep(0)

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, asyncio.timeout(20):
            line = Line(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "key")
            for asked in range(1, 4):
                answer = await line.ask("GET", "/x")
                assert await answer.read() == b"hi"
                answer.close()
                await until(asked + 1)
            opened[-1].transport.abort()
            await asyncio.sleep(0.05)
            answer = await line.ask("GET", "/x")
            assert await answer.read() == b"hi"
            assert len(opened) == 5
            line.close()
            answer.close()
            await asyncio.sleep(0.05)
            assert len(opened) == 5, "nothing is opened ahead of a line that has been closed"

    asyncio.run(main())


def test_pieces_are_offered_while_they_are_waited_for() -> None:
    """What is not taken comes in its place; what comes behind it waits for it."""
    said = [b"1", b"2", b"3", b"4", b"5", b"6"]

    async def work() -> tuple[list[bytes], list[bytes]]:
        go_on = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(LONG_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            for number, one in enumerate(said):
                if number:
                    await go_on.wait()
                    go_on.clear()
                writer.write(b"1\r\n" + one + b"\r\n")
            writer.write(b"0\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, asyncio.timeout(20):
            answer = await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "key", "GET", "/x")
            taken: list[bytes] = []

            def take(piece: bytes) -> bool:
                go_on.set()
                if piece in b"46":
                    return False
                taken.append(piece)
                return True

            answer.take = take
            go_on.set()
            pieces = []
            while (piece := await answer.piece()) is not None:
                pieces.append(piece)
            return taken, pieces

    taken, pieces = asyncio.run(work())
    assert sorted(taken + pieces) == said
    assert taken[:2] == said[1:3]
    assert pieces[:2] == [b"1", b"4"]


def test_what_fails_in_taking_ends_the_answer() -> None:
    async def work(address: str) -> None:
        answer = await ask(address, "key", "GET", "/x")

        def take(piece: bytes) -> bool:
            raise ValueError("a fault of ours")

        answer.take = take
        await answer.read()

    with pytest.raises(BrokenAnswerError):
        answered(LONG_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", work, b"1\r\nx\r\n0\r\n\r\n")


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, bytes]]:
    """When an answer's connection was woken, and what came."""
    found: list[tuple[float, bytes]] = []
    usual = LoopbackAnswer.data_received

    def received(self: LoopbackAnswer, data: bytes) -> None:
        found.append((time.monotonic(), data))
        usual(self, data)

    monkeypatch.setattr(LoopbackAnswer, "data_received", received)
    return found


@on_linux
def test_a_head_and_its_first_text_wake_once_and_small_pieces_at_once(woken: list[tuple[float, bytes]]) -> None:
    chunks = [b"%x\r\n%b\r\n" % (len(text), text) for text in (b"first" * 40, b"2", b"3", b"")]
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    assert answered(head, read, *chunks) == (200, b"first" * 40 + b"23")
    assert [data for _, data in woken] == [head + chunks[0], *chunks[1:]]
    times = [when for when, _ in woken]
    assert min(after - before for before, after in itertools.pairwise(times)) > 0.1


@on_linux
def test_llama_cpp_wakes_with_its_first_text(woken: list[tuple[float, bytes]], tmp_path: Path) -> None:
    """Its head alone is below the bound, its head with any text is not."""

    async def said(worker: LlamaCppWorker) -> bytes:
        body = {"messages": [{"role": "user", "content": "?"}], "stream": True}
        answer = await ask(worker.address, worker.key, "POST", "/v1/chat/completions", json.dumps(body).encode())
        try:
            return await answer.read()
        finally:
            answer.close()

    with LlamaCppWorker(scripted_gguf(tmp_path / "a.gguf", "no"), num_ctx=512) as worker:
        for _ in range(5):
            woken.clear()
            assert b"[DONE]" in asyncio.run(said(worker))
            head, end, rest = woken[0][1].partition(b"\r\n\r\n")
            assert end and b'"delta"' in rest, head
