"""The real `ollama` program against the shim: what its panics and its tables ask for."""

from __future__ import annotations

import subprocess

import pytest

from tests.parts.ollama import OllamaServer, ollama_program
from tests.server.running import RunningShim


@pytest.fixture(scope="module")
def run(real: RunningShim, tmp_path_factory: pytest.TempPathFactory):
    # Never started: only its environment is used, with the shim's address.
    program = OllamaServer(tmp_path_factory.mktemp("program") / "models")
    environment = {**program.environment, "OLLAMA_HOST": f"127.0.0.1:{real.port}"}

    def run(*args: str, check: bool = True, input: str = "") -> str:
        done = subprocess.run(
            [str(ollama_program()), *args],
            env=environment,
            input=input,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        said = done.stdout + done.stderr
        assert (done.returncode == 0) == check, said
        assert "panic" not in said, said
        return said

    return run


def test_list_show_run_ps_stop(run) -> None:
    listed = run("list")
    assert "smol:latest" in listed
    shown = run("show", "smol")
    assert "llama" in shown
    assert "134.52M" in shown or "135M" in shown
    assert "8192" in shown
    assert "completion" in shown
    assert run("run", "smol", "Say hi.").strip()
    assert "smol:latest" in run("ps")
    run("stop", "smol")
    assert "smol" not in run("ps")


def test_a_conversation_from_a_pipe(run) -> None:
    assert run("run", "smol", input="Say hi.\n").strip()


def test_show_modelfile_and_parameters(run) -> None:
    assert run("show", "smol", "--modelfile").startswith("FROM smol")
    assert "num_ctx" in run("show", "smol", "--parameters")


@pytest.mark.bad_input("the ollama program asked to manage models of the shim")
def test_what_cannot_be(run) -> None:
    for args in (("pull", "x"), ("cp", "smol", "y"), ("rm", "smol")):
        assert "does not manage" in run(*args, check=False), args
    assert "smol:latest" in run("list")


@pytest.mark.bad_input("the ollama program run with a model that is not served")
def test_unknown_model(run) -> None:
    assert "nix" in run("run", "nix", "hello", check=False)
