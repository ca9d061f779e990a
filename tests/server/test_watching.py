"""Figures, the audit, logs: what is told of answers, and what is not."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import threading
from pathlib import Path

import pytest

from conch_ollama.errors import NotWritableError, RuntimeUnreachableError
from conch_ollama.server.keys import KeyFile
from conch_ollama.server.logs import write_logs
from conch_ollama.server.settings import Audit, Security, Settings
from conch_ollama.workflows.top import Top
from tests.parts.waiting import wait_until
from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim, figures

CHAT = {"model": "made", "messages": [{"role": "user", "content": "secret question"}]}


def test_metrics() -> None:
    runtime = MadeRuntime()
    runtime.cards = [dataclasses.replace(runtime.cards[0], version="v2")]
    with RunningShim({"made": runtime}) as running:
        running.client.post("/v1/chat/completions", json=CHAT)
        running.client.post("/v1/chat/completions", json=CHAT | {"stream": True})
        running.client.post("/api/chat", json=CHAT)
        running.client.post("/v1/embeddings", json={"model": "made", "input": "abcd"})
        running.client.get("/v1/models/nix")
        found = figures(running)
    assert found["conch_requests_total", "chat.completions", "made", "ok", "v2"] == 2
    assert found["conch_requests_total", "api.chat", "made", "ok", "v2"] == 1
    assert found["conch_tokens_in_total", "made", "v2"] == 3 * 7 + 4
    assert found["conch_tokens_out_total", "made", "v2"] == 3 * 2
    assert found["conch_first_token_seconds_count", "made", "v2"] == 3
    assert found["conch_queue_running", "made"] == 0
    assert found["conch_runtime_up", "made"] == 1
    assert found["conch_http_responses_total", "404"] == 1


def test_ready_and_health() -> None:
    runtime = MadeRuntime()
    with RunningShim({"made": runtime}) as running:
        assert running.client.get("/ready").json() == {"status": "ok"}
        runtime.closed = True
        assert running.client.get("/ready").status_code == 503
        assert running.client.get("/health").status_code == 200


def test_top() -> None:
    with RunningShim({"made": MadeRuntime()}) as running:
        top = Top(running.url)
        assert top.look().rows == ()
        running.client.post("/v1/chat/completions", json=CHAT)
        look = top.look()
        (row,) = look.rows
        assert (row.model, row.requests, row.errors, row.tokens_in, row.tokens_out) == ("made", 1, 0, 7, 2)
        assert row.tokens_per_s > 0
        assert row.first_s is not None
        assert look.down == ()
    with pytest.raises(RuntimeUnreachableError, match="no shim answers"):
        top.look()


@pytest.mark.parametrize("with_texts", [False, True])
def test_audit(tmp_path: Path, with_texts: bool) -> None:
    file = tmp_path / "logs" / "审计.jsonl"
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("ann")
    settings = Settings(audit=Audit(file, with_texts), security=Security(keys=keys.path))
    with RunningShim({"made": MadeRuntime(words=["100% ", "ä%s"])}, settings) as running:
        headers = {"authorization": f"Bearer {key}", "x-request-id": "r-1"}
        answer = running.client.post("/v1/chat/completions", json=CHAT, headers=headers)
        assert answer.headers["x-request-id"] == "r-1"
        running.client.post(
            "/v1/responses", json={"model": "made", "input": "another secret question"}, headers=headers
        )
    text = file.read_text(encoding="utf-8")
    line, passed_on = map(json.loads, text.splitlines())
    assert (line["caller"], line["how"], line["request"], line["address"]) == ("ann", "key", "r-1", "127.0.0.1")
    assert (line["model"], line["result"], line["tokens_in"], line["tokens_out"]) == ("made", "ok", 7, 2)
    assert line["answer"] == answer.json()["id"]
    assert key not in text
    if with_texts:
        assert line["asked"] == CHAT["messages"]
        assert line["said"] == "100% ä%s"
        assert passed_on["asked"] == "another secret question"
    else:
        assert "secret question" not in text
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.bad_input("an audit log that can't be written")
def test_audit_where_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotWritableError, match="audit") as caught:
        RunningShim({"made": MadeRuntime()}, Settings(audit=Audit(tmp_path / "file" / "log"))).__enter__()
    assert caught.value.code == "not-writable"


def test_logs_hold_no_secrets_and_one_line_an_event() -> None:
    stream = io.StringIO()
    before = [
        (logging.getLogger(name), logging.getLogger(name).handlers, logging.getLogger(name).propagate)
        for name in ("conch_ollama", "uvicorn.error")
    ]
    try:
        write_logs("info", as_json=True, stream=stream)
        with RunningShim({"made": MadeRuntime()}) as running:
            running.client.get("/generate?prompt=secret+question", headers={"authorization": "Bearer sk-secret"})
            running.client.post("/v1/chat/completions", json=CHAT | {"model": "a\nb"})
    finally:
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
    assert "secret" not in stream.getvalue()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    requests = [line for line in lines if line["message"] == "request"]
    assert [(line["path"], line["status"]) for line in requests] == [("/generate", 200), ("/v1/chat/completions", 404)]
    assert all(line["request"] for line in requests)


def test_a_configuration_that_changes_under_load_loses_no_answer(tmp_path: Path) -> None:
    old, new = MadeRuntime(words=["x"] * 40, pause_s=0.02), MadeRuntime(words=["y"])
    old.go_on.clear()
    with RunningShim({"made": old}) as running:
        texts: list[str] = []

        def ask() -> None:
            texts.append(running.client.post("/v1/chat/completions", json=CHAT | {"stream": True}).text)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        wait_until(lambda: old.running == 6)
        running.call(running.shim.replace(Settings(), {"made": new}))
        assert not old.closed
        answer = running.client.post("/v1/chat/completions", json=CHAT).json()
        assert answer["choices"][0]["message"]["content"] == "y"
        old.go_on.set()
        for thread in threads:
            thread.join(20)
        assert [text.count('"content":"x"') for text in texts] == [40] * 6
        assert all(text.endswith("data: [DONE]\n\n") for text in texts)
        wait_until(lambda: old.closed)
        assert not new.closed
