"""Stands before a server and writes down when it was asked and when the first of its text came.

python -m benchmarks.relay PORT FILE: hands on to PORT of this machine what comes, and prints the port that it listens
on. FILE gets a line for each connection that was asked something: both times on time.perf_counter's clock, which all
processes share on Linux. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TextIO

from benchmarks.streams import TEXT


class _Side(asyncio.Protocol):
    """One of a relay's two connections: what comes goes to the other, once that is there."""

    def __init__(self) -> None:
        self.other: _Side | None = None
        self.transport: asyncio.Transport | None = None
        self.held = b""
        self.stamp = 0.0
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # of a TCP connection it is
        self.transport = transport

    def look(self, data: bytes) -> None:
        """Stamp, before the data goes on, what is looked for."""

    def data_received(self, data: bytes) -> None:
        self.look(data)
        if self.other is None or self.other.transport is None:
            self.held += data
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _Server(_Side):
    """The side of the server that is asked."""

    def look(self, data: bytes) -> None:
        if not self.stamp and TEXT.search(data):
            self.stamp = time.perf_counter()


class _Client(_Side):
    """The side of who asks: its first data is taken for the whole question, as both who ask here send it."""

    def __init__(self, port: int, out: TextIO) -> None:
        super().__init__()
        self._port = port
        self._out = out
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        side = _Server()
        side.other = self
        await asyncio.get_running_loop().create_connection(lambda: side, "127.0.0.1", self._port)
        self.other = side
        if side.transport is not None:
            side.transport.write(self.held)
            if self.ended:
                side.transport.close()

    def look(self, data: bytes) -> None:
        self.stamp = self.stamp or time.perf_counter()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.other is not None and self.other.stamp:
            self._out.write(f"{self.stamp!r} {self.other.stamp!r}\n")
            self._out.flush()


async def _relay(port: int, out: TextIO) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Client(port, out), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    with Path(sys.argv[2]).open("w", encoding="utf-8") as stamps:
        asyncio.run(_relay(int(sys.argv[1]), stamps))
