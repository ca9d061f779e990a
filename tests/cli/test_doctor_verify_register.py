"""doctor NAME, verify and register from outside: what they print, and the exit status 3 where something is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from conch_ollama.ollama.modelfile import load, save
from conch_ollama.workflows.export import export
from tests.cli.test_cli import conch
from tests.parts.ollama import OllamaServer
from tests.parts.tiny import write_model
from tests.workflows.broken_models import own_gguf, put, rewritten

WRONG = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}assistant: "


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_gguf(tmp_path_factory.mktemp("cli") / "m.gguf", "smollm2", context_length=4096)


def test_doctor_finds_and_mends(ollama_server: OllamaServer, gguf: Path) -> None:
    put(ollama_server, "cli-ill", gguf, WRONG, stop=["\n"])
    found = conch("doctor", "cli-ill", "--host", ollama_server.host)
    assert found.returncode == 3
    text = found.stdout.decode()
    assert "[wrong-template]" in text and "[stop-in-turn]" in text and "+user: What is the capital" in text
    assert b"conch doctor cli-ill --fix" in found.stderr
    as_json = conch("doctor", "cli-ill", "--host", ollama_server.host, "--json")
    assert as_json.returncode == 3
    assert [one["code"] for one in json.loads(as_json.stdout)["findings"]] == ["wrong-template", "stop-in-turn"]
    mended = conch("doctor", "cli-ill", "--fix", OLLAMA_HOST=ollama_server.host)
    assert mended.returncode == 0, mended.stderr.decode()
    assert "now: TEMPLATE curated:smollm2, proven" in mended.stdout.decode()
    again = conch("doctor", "cli-ill", "--fix", "--json", OLLAMA_HOST=ollama_server.host)
    assert again.returncode == 0
    assert json.loads(again.stdout)["healthy"] is True
    assert json.loads(again.stdout)["changes"] == []


@pytest.mark.bad_input("doctor --fix without a name")
def test_fix_needs_a_name() -> None:
    done = conch("doctor", "--fix")
    assert done.returncode == 2
    assert b"--fix needs the NAME" in done.stderr


@pytest.mark.bad_input("doctor: a model that is not there, on the command line")
def test_doctor_of_nobody(ollama_server: OllamaServer) -> None:
    done = conch("doctor", "nobody-here", "--host", ollama_server.host)
    assert done.returncode == 1
    assert b"nobody-here" in done.stderr and b"[not-found]" in done.stderr


def test_verify_and_register(ollama_server: OllamaServer, tmp_path: Path) -> None:
    out = tmp_path / "收 到"
    export(write_model(tmp_path / "base"), types=["q8_0"], name="cli-tiny", out=out, check=False)
    modelfile = load(out / "Modelfile")
    held = conch("verify", out, "--json")
    assert held.returncode == 0, held.stdout.decode()
    assert json.loads(held.stdout)["holds"] is True
    quick = {**modelfile.parameters, "num_thread": 1}
    wrong = type(modelfile)(modelfile.from_, template=WRONG, parameters=quick, license=modelfile.license)
    save(wrong, out / "Modelfile")
    told = conch("verify", out)
    assert told.returncode == 3
    assert "FAILS   TEMPLATE is the one whose proof is recorded" in told.stdout.decode()
    refused = conch("register", out, "--no-ask", "--host", ollama_server.host)
    assert refused.returncode == 1
    assert b"[template-mismatch]" in refused.stderr and b"--allow-unproven" in refused.stderr
    native = conch("register", out, "--no-ask", "--host", ollama_server.host, "--template", "native")
    assert native.returncode == 1 and b"0.30" in native.stderr
    made = conch("register", out, "--no-ask", "--host", ollama_server.host, "--template", "proven")
    assert made.returncode == 0, made.stderr.decode()
    assert "prompts: by TEMPLATE (curated:chatml, proven)" in made.stdout.decode()
    assert "as many tokens here as the model's own chat template makes" in made.stdout.decode()


@pytest.mark.bad_input("verify: a path that is not there, on the command line")
def test_verify_of_nothing(tmp_path: Path) -> None:
    done = conch("verify", tmp_path / "gone")
    assert done.returncode == 1
    assert b"gone" in done.stderr and b"[not-found]" in done.stderr


def test_verify_a_lone_gguf(gguf: Path, tmp_path: Path) -> None:
    alone = rewritten(tmp_path / "alone.gguf", gguf, {})
    shutil.copy(alone, tmp_path / "copy.gguf")
    done = conch("verify", tmp_path / "copy.gguf")
    assert done.returncode == 0
    assert "can't be checked here" in done.stdout.decode()
