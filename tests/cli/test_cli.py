"""The command line from outside: help, errors, exit codes, consoles of any encoding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conch_ollama.cli.options import weighted_adapter
from conch_ollama.cli.root import COMMANDS
from tests.parts.tiny import config, write_adapter, write_model


def conch(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "conch_ollama", *map(str, arguments)],
        capture_output=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        stdin=subprocess.DEVNULL,
    )


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    program = (
        "import sys; from conch_ollama.cli import run; run(['--help']); "
        "heavy = {'numpy', 'rich', 'httpx', 'jinja2', 'gguf', 'tokenizers', 'ollama', 'xllamacpp', 'huggingface_hub'}; "
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize("command", list(COMMANDS))
def test_each_command_has_help(command: str) -> None:
    done = conch(command, "--help")
    assert done.returncode == 0, done.stderr
    assert b"Usage: conch" in done.stdout


def test_export_inspect_and_json(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base model")
    adapter = write_adapter(tmp_path / "ad=apter", config())
    done = conch(
        "export", base, "-a", adapter, "-q", "q8_0", "--name", "海螺", "-o", tmp_path / "out", "--json", "--no-check"
    )
    assert done.returncode == 0, done.stderr.decode()
    result = json.loads(done.stdout)
    assert result["name"] == "海螺"
    assert Path(result["files"][0]["path"]).is_file()
    shown = conch("inspect", tmp_path / "out", "--json")
    assert json.loads(shown.stdout)["export"]["adapters"][0]["name"] == "ad=apter"


@pytest.mark.parametrize("encoding", ["gbk", "cp1252", "cp437"])
def test_a_console_of_any_encoding(tmp_path: Path, encoding: str) -> None:
    base = write_model(tmp_path / "base")
    done = conch(
        "export",
        base,
        "-q",
        "q8_0",
        "--name",
        "神奇海螺😀",
        "-o",
        tmp_path / "out",
        "--no-check",
        PYTHONIOENCODING=encoding,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode(encoding)
    shown = conch("inspect", tmp_path / "out", PYTHONIOENCODING=encoding)
    assert shown.returncode == 0
    expected = "神奇海螺?" if encoding == "gbk" else "?????"
    assert expected in shown.stdout.decode(encoding)


@pytest.mark.bad_input("a command line that makes no sense")
def test_wrong_usage_is_exit_2() -> None:
    done = conch("export")
    assert done.returncode == 2
    assert b"Missing argument 'BASE'" in done.stderr


@pytest.mark.bad_input("a base that is nowhere")
def test_an_error_is_one_line_a_code_and_a_hint(tmp_path: Path) -> None:
    done = conch("export", "./nowhere", cwd=tmp_path, OLLAMA_HOST="127.0.0.1:9")
    assert done.returncode == 1
    first, *rest = done.stderr.decode().splitlines()
    assert first.startswith("error: ") and "nowhere" in first and first.endswith("[not-found]")
    assert any(line.startswith("  hint: ") for line in rest)
    assert "Traceback" not in done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


def test_the_traceback_is_there_for_who_asks() -> None:
    assert b"Traceback" in conch("--traceback", "inspect", "./nowhere").stderr


def test_an_adapter_may_have_a_weight(tmp_path: Path) -> None:
    assert weighted_adapter("a/b=0.5") == ("a/b", 0.5)
    assert weighted_adapter("a/b") == ("a/b", 1.0)
    odd = tmp_path / "x=2"
    odd.mkdir()
    assert weighted_adapter(str(odd)) == (str(odd), 1.0)
    assert weighted_adapter("a=b") == ("a=b", 1.0)
