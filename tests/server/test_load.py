"""Under load: a bounded, fair queue; hang-ups that stop the generation; time-outs; an end that lets answers end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from conch_ollama.errors import RuntimeBusyError, RuntimeFailedError, RuntimeRefusedError
from conch_ollama.runtimes.protocol import Body, Chunk
from conch_ollama.server.errors import Refusal
from conch_ollama.server.queue import ModelQueue
from tests.parts.waiting import wait_until
from tests.server.made_runtime import MadeRuntime, chunk
from tests.server.running import RunningShim, with_limits

CHAT = {"model": "made", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.bad_input("more requests than the queue holds")
def test_64_at_once_on_a_queue_of_16() -> None:
    runtime = MadeRuntime(pause_s=0.2)
    with RunningShim({"made": runtime}, with_limits(parallel=4, queue=16)) as running:

        def ask(_: int) -> tuple[httpx.Response, float]:
            begun = time.monotonic()
            return running.client.post("/v1/chat/completions", json=CHAT), time.monotonic() - begun

        with ThreadPoolExecutor(64) as pool:
            found = list(pool.map(ask, range(64)))
    good = [answer for answer, _ in found if answer.status_code == 200]
    refused = [answer for answer, _ in found if answer.status_code == 429]
    assert len(good) + len(refused) == 64
    assert len(good) >= 20
    assert runtime.most == 4
    assert len(runtime.asked) == len(good)
    for answer in refused:
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["code"] == "queue_full"
        assert "x-should-retry" not in answer.headers


@contextlib.asynccontextmanager
async def placed(queue: ModelQueue, key: str, timeout_s: float) -> AsyncGenerator[None, None]:
    if not queue.take():
        await queue.wait(key, timeout_s)
    try:
        yield
    finally:
        queue.leave(0.1)


def test_the_queue_is_fair_between_keys() -> None:
    async def play() -> list[str]:
        queue = ModelQueue(1, 100)
        order: list[str] = []

        async def work(key: str) -> None:
            async with placed(queue, key, 10):
                order.append(key)
                await asyncio.sleep(0)

        async with placed(queue, "first", 10):
            tasks = [asyncio.create_task(work("greedy")) for _ in range(6)]
            await asyncio.sleep(0)
            tasks += [asyncio.create_task(work("modest")) for _ in range(2)]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert (queue.running, queue.waiting) == (0, 0)
        return order

    assert asyncio.run(play()) == ["greedy", "modest", "greedy", "modest", "greedy", "greedy", "greedy", "greedy"]


def test_waiters_that_give_up_leave_no_place_taken() -> None:
    async def play() -> None:
        queue = ModelQueue(1, 100)

        async def work(seconds: float) -> None:
            async with placed(queue, "k", 10):
                await asyncio.sleep(seconds)

        tasks = [asyncio.create_task(work(0.001 * (n % 3))) for n in range(50)]
        for n, task in enumerate(tasks):
            await asyncio.sleep(0.0005)
            if n % 2:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (queue.running, queue.waiting) == (0, 0)
        async with asyncio.timeout(1), placed(queue, "k", 1):
            pass

    asyncio.run(play())


@pytest.mark.bad_input("no place in the queue within its time")
def test_queue_timeout() -> None:
    async def play() -> None:
        queue = ModelQueue(1, 10)
        async with placed(queue, "a", 1):
            with pytest.raises(Refusal) as caught:
                await queue.wait("b", 0.01)
        assert (caught.value.status, caught.value.code) == (503, "queue_timeout")
        assert "retry-after" in caught.value.headers
        assert (queue.running, queue.waiting) == (0, 0)

    asyncio.run(play())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/generate"])
def test_hanging_up_stops_the_generation(path: str, stream: bool) -> None:
    runtime = MadeRuntime(words=["x"] * 1000, pause_s=0.01)
    with RunningShim({"made": runtime}) as running:
        body = json.dumps({**CHAT, "prompt": "hi", "stream": stream}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.sendall(head + body)
            wait_until(lambda: runtime.running == 1)
            if stream and path != "/generate":
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
        wait_until(lambda: runtime.running == 0)
        assert runtime.stopped == 1
        wait_until(lambda: running.shim.queues["made"].running == 0)
        metrics = running.client.get("/metrics").text
        assert 'result="cancelled"' in metrics


def test_hanging_up_in_the_queue_leaves_it() -> None:
    runtime = MadeRuntime(words=["x"] * 1000, pause_s=0.01)
    with RunningShim({"made": runtime}, with_limits(parallel=1)) as running:
        body = json.dumps(CHAT).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", running.port)) as first:
            first.sendall(head + body)
            wait_until(lambda: runtime.running == 1)
            queue = running.shim.queues["made"]
            with socket.create_connection(("127.0.0.1", running.port)) as second:
                second.sendall(head + body)
                wait_until(lambda: queue.waiting == 1)
            wait_until(lambda: queue.waiting == 0)
        wait_until(lambda: queue.running == 0)
        assert len(runtime.asked) == 1


@pytest.mark.bad_input("a model that does not begin to answer")
def test_first_token_timeout() -> None:
    with RunningShim({"made": MadeRuntime(pause_s=30)}, with_limits(first_token_s=0.05)) as running:
        answer = running.client.post("/v1/chat/completions", json=CHAT)
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "timeout"
        assert answer.headers["x-should-retry"] == "false"
        answer = running.client.post("/api/chat", json=CHAT)
        assert (answer.status_code, list(answer.json())) == (504, ["error"])


@pytest.mark.bad_input("a model that does not end its answer")
def test_total_timeout_ends_a_stream_with_an_error_event() -> None:
    settings = with_limits(total_s=0.5)
    with RunningShim({"made": MadeRuntime(words=["x"] * 100, pause_s=0.02)}, settings) as running:
        answer = running.client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        events = [line for line in answer.text.split("\n\n") if line]
        assert answer.status_code == 200
        assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "timeout"
        lines = running.client.post("/api/chat", json=CHAT).text.splitlines()
        assert list(json.loads(lines[-1])) == ["error"]
        assert all(json.loads(line) for line in lines)


def test_comments_keep_a_stream_awake_while_the_prompt_is_read() -> None:
    with RunningShim({"made": MadeRuntime(pause_s=0.35)}, with_limits(keep_alive_s=0.1)) as running:
        text = running.client.post("/v1/chat/completions", json={**CHAT, "stream": True}).text
        assert text.startswith(": still reading\n\n")
        assert text.endswith("data: [DONE]\n\n")
        # Not in Ollama's dialect, where each line is JSON.
        lines = running.client.post("/api/chat", json=CHAT).text.splitlines()
        assert all(line.startswith("{") for line in lines)


def test_an_end_that_cannot_wait_says_so(caplog: pytest.LogCaptureFixture) -> None:
    runtime = MadeRuntime(words=["x"] * 1000, pause_s=0.02)
    with RunningShim({"made": runtime}, with_limits(shutdown_s=1)) as running:

        def ask(stream: bool) -> bytes:
            body = json.dumps({**CHAT, "stream": stream}).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            return running.raw(head.encode() + body, wait_s=20)

        with ThreadPoolExecutor(2) as pool:
            streamed, whole = pool.submit(ask, True), pool.submit(ask, False)
            wait_until(lambda: runtime.running == 2)
            running.end()
            assert whole.result().startswith(b"HTTP/1.1 503")
            assert b'"shutting_down"' in whole.result()
            assert streamed.result().startswith(b"HTTP/1.1 200")
            assert b'"shutting_down"' in streamed.result().rpartition(b"data: ")[2]
    assert runtime.stopped == 2
    assert "Traceback" not in caplog.text


@pytest.mark.bad_input("a client that takes nothing of its stream")
def test_a_stuck_client_is_cut_off() -> None:
    runtime = MadeRuntime(words=["x" * 100_000] * 1000)
    with RunningShim({"made": runtime}, with_limits(stuck_s=0.2, keep_alive_s=0.1)) as running:
        body = json.dumps({**CHAT, "stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.sendall(head + body)
            wait_until(lambda: runtime.running == 1)
            wait_until(lambda: runtime.running == 0)
        assert runtime.stopped == 1


def test_a_slow_client_gets_all_in_order() -> None:
    """What can be sent at once is; then the stream waits, and the model with it."""
    words = [f"{number:06d}" + "x" * 50_000 for number in range(400)]
    runtime = MadeRuntime(words=words)
    with RunningShim({"made": runtime}) as running:
        body = json.dumps({**CHAT, "stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.sendall(head + body)
            wait_until(lambda: runtime.taken > 0)
            time.sleep(0.5)
            before = runtime.taken
            assert before < len(words) - 50
            got = b""
            while b"[DONE]" not in got[-100:] and (piece := connection.recv(1 << 20)):
                got += piece
            assert runtime.taken > before
    assert [int(n) for n in re.findall(rb"(\d{6})x", got)] == list(range(len(words)))


def _failing(err: Exception, after: int):
    async def script(model: str, body: Body) -> AsyncGenerator[Chunk, None]:
        for _ in range(after):
            yield chunk(model, {"content": "x"})
        raise err

    return script


@pytest.mark.bad_input("a runtime that fails")
@pytest.mark.parametrize(
    ("err", "status", "code"),
    [
        (RuntimeFailedError("the worker died"), 502, "runtime_failed"),
        (RuntimeBusyError("starting again", retry_after=3.2), 503, "overloaded"),
        (RuntimeRefusedError("too long", kind="exceed_context_size_error"), 400, "context_length_exceeded"),
        (ValueError("a fault of ours"), 500, "internal_error"),
    ],
)
def test_errors_before_and_in_the_stream(err: Exception, status: int, code: str) -> None:
    runtime = MadeRuntime()
    with RunningShim({"made": runtime}) as running:
        runtime.script = _failing(err, 0)
        for stream in (True, False):
            answer = running.client.post("/v1/chat/completions", json={**CHAT, "stream": stream})
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
            assert ("x-should-retry" in answer.headers) == (status in {400, 500})
            assert "fault of ours" not in answer.text
        if status == 503:
            assert answer.headers["retry-after"] == "4"
        runtime.script = _failing(err, 2)
        events = running.client.post("/v1/chat/completions", json={**CHAT, "stream": True}).text.split("\n\n")
        assert json.loads(events[-2].removeprefix("data: "))["error"]["code"] == code
        whole = running.client.post("/v1/chat/completions", json=CHAT)
        assert whole.status_code == status
        lines = running.client.post("/api/generate", json={"model": "made", "prompt": "x"}).text.splitlines()
        assert list(json.loads(lines[-1])) == ["error"]


def test_an_end_lets_running_answers_end() -> None:
    runtime = MadeRuntime(words=["x"] * 30, pause_s=0.02)
    runtime.go_on.clear()
    with RunningShim({"made": runtime}) as running:
        texts: list[str] = []
        ask = threading.Thread(
            target=lambda: texts.append(
                httpx.post(f"{running.url}/v1/chat/completions", json={**CHAT, "stream": True}, trust_env=False).text
            )
        )
        with httpx.Client(trust_env=False) as other:
            assert other.get(f"{running.url}/ready").status_code == 200
            ask.start()
            wait_until(lambda: runtime.running == 1)
            running.end()
            wait_until(lambda: running.shim.draining)
            runtime.go_on.set()
        ask.join(20)
        assert texts[0].endswith("data: [DONE]\n\n")
        assert texts[0].count('"content":"x"') == 30
    assert runtime.closed
