"""What the audit tells of requests that were refused or given up: all of them, no secret, and no more than a disk can
bear."""

from __future__ import annotations

import asyncio
import json
import socket
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.server.audit import AuditLog
from conch_ollama.server.floods import Flood, LeftOut
from conch_ollama.server.keys import KeyFile
from conch_ollama.server.settings import Audit, Limits, ModelSettings, Security, Settings
from tests.parts.waiting import wait_until
from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim

CHAT = {"model": "made", "messages": [{"role": "user", "content": "secret question"}]}


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.bad_input("requests that are refused leave a line in the audit")
def test_every_kind_of_refusal_leaves_a_line_without_a_secret(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    key = {name: keys.add(name, **wishes) for name, wishes in WISHES.items()}
    keys.revoke("gone")
    models = {"made": ModelSettings("made"), "far": ModelSettings("made", "made", networks=(ip_network("10.0.0.0/8"),))}
    settings = Settings(
        limits=Limits(body_bytes=1000),
        security=Security(keys=keys.path, hosts=("localhost",)),
        audit=Audit(tmp_path / "audit.jsonl"),
        models=models,
    )
    stolen = "conch_0123456789ab_" + "s" * 43

    def ask(name: str | None, body: Any = CHAT, path: str = "/v1/chat/completions", **headers: str) -> int:
        if name:
            headers["authorization"] = f"Bearer {key.get(name, name)}"
        return running.client.post(path, json=body, headers=headers).status_code

    with RunningShim({"made": MadeRuntime()}, settings) as running:
        got = [
            ask(None),
            ask(stolen),
            ask("gone"),
            ask("elsewhere"),
            ask("ann", CHAT | {"model": "nix"}),
            ask("ann", CHAT | {"model": "far"}),
            ask("sales", {"model": "made"}, "/api/show"),
            ask("ann", CHAT | {"messages": []}),
            ask("ann", {"prompt": "x" * 2000}, "/generate"),
            ask("ann", CHAT, "/nix"),
            ask("ann", CHAT, origin="https://evil.example"),
            ask("ann", CHAT, host="evil.example"),
            ask("slow"),
            ask("slow"),
        ]
        running.shim.draining = True
        got.append(ask("ann"))
    lines = lines_of(tmp_path / "audit.jsonl")
    told = [(line["status"], line["caller"], line["result"]) for line in lines if "status" in line]
    assert [status for status, _, _ in told] == [status for status in got if status != 200]
    assert told == [
        (401, None, "invalid_api_key"),
        (401, None, "invalid_api_key"),
        (401, "gone", "invalid_api_key"),
        (403, "elsewhere", "address_not_allowed"),
        (404, "ann", "model_not_found"),
        (404, "ann", "model_not_found"),
        (404, "sales", "model_not_found"),
        (400, "ann", "invalid_value"),
        (413, "ann", "body_too_large"),
        (404, "ann", "404"),
        (403, None, "origin_not_allowed"),
        (421, None, "host_not_allowed"),
        (429, "slow", "rate_limit_exceeded"),
        (503, "ann", "shutting_down"),
    ]
    by_reason = {line["reason"]: line for line in lines if "reason" in line}
    assert "The key is not known. It was revoked." in by_reason
    assert sum("not for this caller" in reason for reason in by_reason) == 2, "a name that is not there is told apart"
    for line in lines:
        assert line["address"] == "127.0.0.1"
        assert len(line["request"]) == 16
    assert (lines[0]["method"], lines[0]["path"]) == ("POST", "/v1/chat/completions")
    text = (tmp_path / "audit.jsonl").read_text(encoding="utf-8")
    assert not any(secret in text for secret in (stolen, "s" * 20, "secret question", *key.values()))


WISHES: dict[str, dict[str, Any]] = {
    "ann": {},
    "gone": {},
    "sales": {"models": ["sales-*"]},
    "slow": {"rate": 1},
    "elsewhere": {"networks": ["10.9.0.0/16"]},
}


def test_one_line_for_what_was_answered_and_for_what_a_full_queue_refused(tmp_path: Path) -> None:
    settings = Settings(audit=Audit(tmp_path / "a"), limits=Limits(parallel=1, queue=0))
    runtime = MadeRuntime(words=["x"] * 20)
    runtime.go_on.clear()
    with RunningShim({"made": runtime}, settings) as running:
        with running.client.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as stream:
            pieces = stream.iter_bytes()  # which closes the stream when nobody holds it any more
            got = b""
            while got.count(b'"content":"x"') < 3:
                got += next(pieces)
            assert running.client.post("/v1/chat/completions", json=CHAT).status_code == 429
        wait_until(lambda: not runtime.running)
    full, cancelled = lines_of(tmp_path / "a")
    assert (full["result"], full["tokens_out"], cancelled["result"]) == ("queue_full", 0, "cancelled")
    assert 1 <= cancelled["tokens_out"] < 20


def test_clients_that_hang_up_before_they_have_said_all(tmp_path: Path) -> None:
    file = tmp_path / "a"
    runtime = MadeRuntime()
    with RunningShim({"made": runtime}, Settings(audit=Audit(file))) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            head = (
                "POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\n"
            )
            connection.sendall(head.encode() + b"half a prompt")
        wait_until(lambda: file.read_text(encoding="utf-8") != "")
    (line,) = lines_of(file)
    assert (line["result"], line["status"], line["path"]) == ("cancelled", None, "/generate")
    assert runtime.asked == [], "half a prompt is not asked"


def test_a_flood_leaves_a_few_lines_and_a_count(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    keys.add("ann")
    settings = Settings(audit=Audit(tmp_path / "a"), security=Security(keys=keys.path))
    with RunningShim({"made": MadeRuntime()}, settings) as running:
        for _ in range(14):
            running.client.get("/v1/models")
        running.client.get("/nix", headers={"host": "x y"})
    lines = lines_of(tmp_path / "a")
    assert {line["result"] for line in lines} == {"invalid_api_key"}
    assert sum(line.get("left_out", 1) for line in lines) == 15
    assert len(lines) == 11
    assert lines[-1]["address"] == "127.0.0.1"


def test_the_bounds_of_a_flood() -> None:
    flood = Flood(window_s=60, each=3, together=5)
    told = [flood.admits("a", "401", now) for now in range(5)]
    assert told == [True] * 3 + [False] * 2
    assert [flood.admits(f"b{n}", "401", 10.0) for n in range(4)] == [True, True, False, False]
    assert not flood.admits("a", "401", 59.0)
    assert flood.ended(59.0) == []
    assert flood.ended(60.0) == [LeftOut("a", "401", 3, 0), LeftOut("", "401", 2, 0)]
    assert flood.ended(61.0) == []
    assert flood.admits("a", "401", 61.0), "a new window"


def test_a_count_is_written_when_its_window_is_over_although_nothing_more_comes(tmp_path: Path) -> None:
    async def flooded() -> None:
        audit = AuditLog(Audit(tmp_path / "a"))
        audit._flood = Flood(window_s=0.3, each=1)
        for _ in range(3):
            audit.refused({"address": "x", "result": "401"})
        while len(lines_of(tmp_path / "a")) < 2:
            await asyncio.sleep(0.005)
        audit.close()

    asyncio.run(flooded())
    assert sum(line.get("left_out", 0) for line in lines_of(tmp_path / "a")) == 2
