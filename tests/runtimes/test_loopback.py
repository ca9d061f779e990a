"""HTTP on loopback: bodies of each kind, and what is none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from conch_ollama.runtimes.loopback import Line, ask
from conch_ollama.runtimes.loopback_answer import BrokenAnswerError, NotListeningError

HEAD = b"HTTP/1.1 200 OK\r\n"


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
            writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
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
        answered(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", work, b"1\r\nx\r\n0\r\n\r\n")
