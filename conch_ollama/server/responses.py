"""Responses that end when the client hangs up: a whole JSON body, or a stream that keeps a connection awake.

Until the first byte an error has its own status; later it is an event of the stream. Knows no dialect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from conch_ollama.runtimes.protocol import compact
from conch_ollama.server.access import ANYONE
from conch_ollama.server.errors import Refusal, ending, error_body, error_headers, refusal_of
from conch_ollama.server.visitors import KEY, Visitor

log = logging.getLogger(__name__)
#: An extension of ASGI. `push(make, given, start)` sends `make(given)` as a piece of a body at once, if that can be,
#: and tells whether it has; `start` sends the head and is called where that has not been done. `came()` is the body of
#: the request, where all of it has come, which `receive` then does not tell again; else None.
SERVER = "conch.server"
Given = TypeVar("Given")
_HEAD = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
JSON = "application/json; charset=utf-8"


def of_server(scope: Scope, name: str) -> Any:
    """What the extension SERVER has under this name; None in another server."""
    return scope.get("extensions", {}).get(SERVER, {}).get(name)


class JSONAnswer(Response):
    """JSON in UTF-8, and it says so: some clients take Latin-1 where no charset stands."""

    media_type = JSON

    def render(self, content: Any) -> bytes:
        return compact(content)


def refused(scope: Scope, refusal: Refusal) -> JSONAnswer:
    """The response to a refused request, in the dialect of its path; the door learns of it for the audit."""
    visitor: Visitor = scope[KEY]
    visitor.course.refusal = refusal
    return JSONAnswer(error_body(scope["path"], refusal), refusal.status, error_headers(refusal))


def failed(scope: Scope, err: Exception) -> tuple[Refusal, JSONAnswer]:
    """Any error as a refusal and its response; what nobody expected goes to the log.

    So do the words of a runtime that failed, which may hold paths and addresses: only who sits at the machine, where
    nobody is asked for a key, gets to read them.
    """
    path = scope["path"]
    refusal = refusal_of(err)
    if refusal.status == 500:
        log.error("unexpected error on %s", path, exc_info=err)
    elif refusal.code == "runtime_failed":
        log.warning("a runtime failed on %s: %s", path, refusal.message)
        if scope[KEY].caller is not ANYONE:
            refusal = Refusal(refusal.status, "The model's runtime failed; the server's log says more.", refusal.code)
    return refusal, refused(scope, refusal)


class Watched(Response):
    """Does its work in `work`, which is cancelled when the client hangs up."""

    def __init__(self) -> None:
        self._gone = False
        self._done = False
        self._watching: asyncio.Task[None] | None = None
        self.background = None

    async def work(self, scope: Scope, send: Send) -> None:
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        # That is when the work first waits: when the runtime has been asked.
        starting = asyncio.get_running_loop().call_soon(self._start_watch, receive, task)
        try:
            await self.work(scope, send)
        except asyncio.CancelledError:
            if not self._gone:
                raise
            task.uncancel()
        finally:
            starting.cancel()
            if self._watching is not None:
                self._watching.cancel()

    def _start_watch(self, receive: Receive, task: asyncio.Task[Any]) -> None:
        self._watching = asyncio.create_task(self._watch(receive, task))

    async def _watch(self, receive: Receive, task: asyncio.Task[Any]) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._cut_off(task)

    def _cut_off(self, task: asyncio.Task[Any]) -> None:
        """Nobody is there to take an answer."""
        if not self._done and not self._gone:
            self._gone = True
            task.cancel()


class WholeAnswer(Watched):
    """One JSON body, when `produce` has it."""

    def __init__(self, produce: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        super().__init__()
        self._produce = produce

    async def work(self, scope: Scope, send: Send) -> None:
        try:
            response: Response = JSONAnswer(await self._produce())
        except asyncio.CancelledError:
            if self._gone:
                raise
            response = refused(scope, ending())
        except Exception as err:  # the border: ours are translated, others logged
            _, response = failed(scope, err)
        self._done = True
        await response(scope, _nothing, send)


class StreamedAnswer(Watched):
    """What `produce` writes or pushes into this answer, as it comes.

    `comment` is sent after each `quiet_s` seconds without a word, also before the first; None: never. A client that
    takes nothing for `stuck_s` seconds is cut off. `failure` makes an error the stream's last event.
    """

    def __init__(
        self,
        produce: Callable[[StreamedAnswer], Coroutine[Any, Any, None]],
        *,
        media_type: str,
        failure: Callable[[Refusal], bytes],
        comment: bytes | None = None,
        quiet_s: float = 10.0,
        stuck_s: float = 120.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._produce = produce
        self._failure = failure
        self._comment = comment
        self._quiet_s = quiet_s
        self._stuck_s = stuck_s
        self._started = False
        self._spoke = 0.0
        self._sending: float | None = None
        self._speaking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._media_type = media_type
        self._more_headers = headers or {}
        self._head: dict[str, Any] | None = None

    async def work(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._push: Callable[..., bool] | None = of_server(scope, "push")
        self._loop = asyncio.get_running_loop()
        self._spoke = self._loop.time()
        try:
            await self._produce(self)
        except asyncio.CancelledError:
            # Cut off by the server's end, not by the client: it shall know that this is not the whole answer.
            if self._gone:
                raise
            if not self._started:
                self._done = True
                await refused(scope, ending())(scope, _nothing, send)
                return
            await self.write(self._failure(ending()))
        except Exception as err:  # the border: ours are translated, others logged
            refusal, response = failed(scope, err)
            if not self._started:
                self._done = True
                await response(scope, _nothing, send)
                return
            await self.write(self._failure(refusal))
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._speaking is not None:  # a comment must not come after the end
                self._speaking.cancel()
        self._done = True
        await self._start()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self) -> None:
        if not self._started:
            self._started = True
            await self._send(self._head or self._make_head())

    def _start_now(self) -> None:
        """The head, where nothing has to be waited for."""
        self._started = True
        starting: Any = self._send(self._head or self._make_head())
        try:  # noqa: SIM105 - `suppress` is four calls more before the first token
            starting.send(None)
        except StopIteration:
            pass

    def _make_head(self) -> dict[str, Any]:
        more = [(name.encode(), value.encode()) for name, value in self._more_headers.items()]
        head = [(b"content-type", self._media_type.encode()), *_HEAD, *more]
        return {"type": "http.response.start", "status": 200, "headers": head}

    async def write(self, data: bytes) -> None:
        """Send a piece; waits while the client is slower than the model."""
        if not self._started:
            await self._start()
        self._spoke = self._sending = self._loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._sending = None

    def push(self, make: Callable[[Given], bytes], given: Given) -> bool:
        """Send `make(given)` at once, where nothing has to be waited for: else it is not made, and False returned."""
        if self._sending is not None or self._push is None or not self._push(make, given, self._start_now):
            return False
        self._spoke = self._loop.time()
        return True

    def _start_watch(self, receive: Receive, task: asyncio.Task[Any]) -> None:
        self._head = self._make_head()  # while the runtime works
        self._look_later(task)
        super()._start_watch(receive, task)

    def _look_later(self, task: asyncio.Task[Any]) -> None:
        self._timer = self._loop.call_later(min(self._quiet_s, self._stuck_s), self._look, task)

    def _look(self, task: asyncio.Task[Any]) -> None:
        """Cut off who takes nothing, keep awake who hears nothing."""
        now = self._loop.time()
        if self._sending is not None:
            if now - self._sending >= self._stuck_s:
                self._cut_off(task)
                return
        elif self._comment is not None and now - self._spoke >= self._quiet_s * 0.9:
            self._speaking = self._loop.create_task(self.write(self._comment))
        self._look_later(task)


async def _nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}
