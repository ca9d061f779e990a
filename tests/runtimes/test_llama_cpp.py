"""The worker: answers, survives bad files as errors, dies with its parent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from conch_ollama.errors import ConchError
from conch_ollama.runtimes.llama_cpp import LlamaCppWorker
from tests.parts.waiting import wait_until


def test_tokens_completion_and_chat(smollm2_gguf: Path) -> None:
    with LlamaCppWorker(smollm2_gguf, num_ctx=512) as worker:
        assert worker.tokenize("<|im_start|>") == [1]
        assert worker.tokenize("<|im_start|>", parse_special=False) != [1]
        greedy = worker.complete("The capital of France is", max_tokens=4)
        assert "Paris" in greedy["content"]
        assert worker.complete("The capital of France is", max_tokens=4)["tokens"] == greedy["tokens"]
        pieces = list(worker.chat([{"role": "user", "content": "Say hello."}], max_tokens=12, temperature=0))
        assert len(pieces) > 1 and "ello" in "".join(pieces)


def test_nobody_else_may_ask(smollm2_gguf: Path) -> None:
    import httpx

    with LlamaCppWorker(smollm2_gguf, num_ctx=256) as worker:
        answer = httpx.post(f"{worker.address}/completion", json={"prompt": "x"}, trust_env=False)
        assert answer.status_code == 401


@pytest.mark.bad_input("a file that is no model")
def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "模型.gguf"
    path.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(ConchError) as caught:
        LlamaCppWorker(path)
    assert caught.value.code == "runtime-failed"
    assert "模型.gguf" in caught.value.message


@pytest.mark.bad_input("a worker that dies in mid-conversation")
def test_a_dead_worker_is_an_error(smollm2_gguf: Path) -> None:
    with LlamaCppWorker(smollm2_gguf, num_ctx=256) as worker:
        worker._process.kill()
        with pytest.raises(ConchError) as caught:
            worker.tokenize("hello")
    assert caught.value.code == "runtime-failed"
    assert smollm2_gguf.name in caught.value.message


def test_the_worker_does_not_outlive_its_parent(smollm2_gguf: Path) -> None:
    program = (
        "import sys, time; from conch_ollama.runtimes.llama_cpp import LlamaCppWorker; "
        "w = LlamaCppWorker(sys.argv[1], num_ctx=256); print(w._process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(smollm2_gguf)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: gone(worker), 20)


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two questions
        return True
