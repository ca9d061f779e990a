"""The door to somebody else's server: kept connections that were dropped in silence, redirects, what is no JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from conch_ollama.errors import ConchError, RuntimeFailedError, RuntimeUnreachableError
from conch_ollama.runtimes.http_door import HttpDoor

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def refuses(status: int, body: bytes, headers: Any) -> ConchError:
    return RuntimeFailedError(f"{status} {body.decode()}")


def with_server(answers: list[bytes], work: Callable[[HttpDoor], Awaitable[Any]]) -> tuple[Any, int]:
    """`work` with the door to a server that gives `answers`, one after the other, b"" by closing; and how many
    connections it took."""
    connections = 0

    async def main() -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            try:
                while answers:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = next(
                        (line for line in head.split(b"\r\n") if line.lower().startswith(b"content-l")), b":0"
                    )
                    await reader.readexactly(int(length.split(b":")[1]))
                    answer = answers.pop(0)
                    if not answer:
                        break
                    writer.write(answer)
                    if b"Connection: close" in answer:
                        break
            except asyncio.IncompleteReadError:
                pass
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, asyncio.timeout(20):
            door = HttpDoor(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "the server", refuses)
            try:
                return await work(door)
            finally:
                await door.close()

    return asyncio.run(main()), connections


async def twice(door: HttpDoor) -> list[Any]:
    return [await door.ask("POST", "/x", {"a": 1}), await door.ask("POST", "/x", {"a": 2})]


def test_connections_are_kept() -> None:
    assert with_server([OK, OK], twice) == ([{}, {}], 1)


def test_a_kept_connection_that_was_dropped_is_made_anew() -> None:
    assert with_server([OK, b"", OK], twice) == ([{}, {}], 2)


@pytest.mark.bad_input("a server that takes connections and says nothing")
def test_one_that_never_answers() -> None:
    with pytest.raises(RuntimeUnreachableError) as caught:
        with_server([b"", b"", b""], twice)
    assert "the server" in caught.value.message


@pytest.mark.bad_input("a server that sends elsewhere, or answers without JSON")
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nhello",
    ],
)
def test_what_is_no_answer(answer: bytes) -> None:
    with pytest.raises(RuntimeFailedError):
        with_server([answer, b""], twice)
