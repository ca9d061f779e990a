"""`conch serve` as a process: ready, answering, taking over a changed conch.toml, ending; `conch keys`, `conch top`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from conch_ollama.cli.root import run
from tests.parts.waiting import wait_until

WRONG_TOKENS = "[security.jwt]\nalgorithms = ['HS256']\naudience = 'x'\nsecret_env = 'CONCH_TEST_SHORT'\n"


def conch(*args: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = run(list(args))
    said = capsys.readouterr()
    return status, said.out, said.err


def test_serve_reload_and_end(tmp_path: Path, smollm2_gguf: Path) -> None:
    config = tmp_path / "conch.toml"
    text = f"port = 0\n[models.{{}}]\npath = {json.dumps(str(smollm2_gguf))}\nnum_ctx = 256\nthreads = 1\nslots = 1\n"
    config.write_text(text.format("one"), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "conch_ollama", "serve", "--config", str(config), "--log", "text"],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "CONCH_TEST_SHORT": "short"},
        encoding="utf-8",
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "serving one at http://127.0.0.1:" in first
        url = first.split()[-1]
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            assert client.get("/ready").status_code == 200
            # The next request does not wait for the file's time to be coarse.
            config.write_text(text.format("two") + "[aliases]\nother = 'two'\n", encoding="utf-8")
            wait_until(lambda: [m["id"] for m in client.get("/v1/models").json()["data"]] == ["two", "other"], 20)
            answer = client.post("/generate", json={"prompt": "hi", "model": "other", "max_tokens": 2}).json()
            assert answer["generated_text"]
            # Wrong in what is seen last: nothing of it may be taken over.
            config.write_text(text.format("three") + WRONG_TOKENS, encoding="utf-8")
            assert any("is not taken over: HS256 needs" in line for line in process.stderr)
            assert client.post("/generate", json={"prompt": "hi", "model": "other", "max_tokens": 2}).is_success
        process.send_signal(signal.SIGTERM if os.name == "posix" else signal.CTRL_BREAK_EVENT)
        rest = process.communicate(timeout=30)[1]
        assert "Traceback" not in rest
    finally:
        watchdog.cancel()
        process.kill()


def test_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "keys.json")
    status, key, _ = conch("keys", "add", "ann", "--file", file, "--model", "a-*", "--rate", "5", capsys=capsys)
    assert (status, key.startswith("conch_")) == (0, True)
    assert conch("keys", "add", "ann", "--file", file, capsys=capsys)[0] == 2
    _, listed, _ = conch("keys", "list", "--file", file, capsys=capsys)
    assert "ann" in listed
    assert "a-*" in listed
    assert key.strip() not in listed
    assert conch("keys", "revoke", "ann", "--file", file, capsys=capsys)[0] == 0
    assert "REVOKED" in conch("keys", "list", "--file", file, capsys=capsys)[1]
    assert json.loads(conch("keys", "list", "--file", file, "--json", capsys=capsys)[1])[0]["revoked"] > 0
    assert conch("keys", "add", "ann", "--file", file, capsys=capsys)[0] == 0, "a revoked name is free"


@pytest.mark.bad_input("keys that are not there, networks that are none, a file of no keys")
def test_keys_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "keys.json"
    status, _, said = conch("keys", "revoke", "bob", "--file", str(file), capsys=capsys)
    assert (status, "bob" in said, "not-found" in said) == (1, True, True)
    status, _, said = conch("keys", "add", "x", "--file", str(file), "--network", "nix", capsys=capsys)
    assert (status, "nix" in said) == (2, True)
    assert not file.exists()
    file.write_text("[1]", encoding="utf-8")
    for args in (("list",), ("add", "x"), ("revoke", "x")):
        status, _, said = conch("keys", *args, "--file", str(file), capsys=capsys)
        assert (status, "bad-config" in said) == (1, True)
    assert file.read_text(encoding="utf-8") == "[1]"


@pytest.mark.bad_input("conch top without a shim, conch serve on a taken port")
def test_where_nothing_serves(made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    running, _ = made
    status, out, _ = conch("top", "--once", "--url", running.url, capsys=capsys)
    assert (status, "tokens/s" in out) == (0, True)
    status, _, said = conch("top", "--once", "--url", "http://127.0.0.1:1", capsys=capsys)
    assert (status, "no shim answers" in said) == (1, True)
    status, _, said = conch("serve", "--runtime", "ollama", "--port", str(running.port), capsys=capsys)
    assert (status, str(running.port) in said, "usage" in said) == (2, True, True)
    status, _, said = conch("serve", "--runtime", "ollama", "--listen", "0.0.0.0", capsys=capsys)
    assert (status, "can be reached by others" in said) == (2, True)
    status, _, said = conch("feedback", "export", str(tmp_path / "nix"), capsys=capsys)
    assert (status, "not-found" in said) == (1, True)
