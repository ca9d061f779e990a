"""The parts themselves: built once, whole or not at all, by one process; a server that leaves no process behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.parts import cache
from tests.parts.ollama import OllamaServer, PartMissingError, ollama_program

BUILD_SLOWLY = """
import sys, time
from pathlib import Path
from tests.parts.cache import provide
def build(folder):
    time.sleep(0.5)
    (folder / "built-by").write_text(sys.argv[1])
print((provide("part", build) / "built-by").read_text())
"""


def test_two_processes_build_a_part_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCH_CACHE", str(tmp_path))
    command = [sys.executable, "-c", BUILD_SLOWLY]
    root = Path(cache.__file__).parents[2]
    running = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True, cwd=root) for n in range(2)]
    told = {process.communicate(timeout=60)[0] for process in running}
    assert len(told) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["part"]


def test_a_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCH_CACHE", str(tmp_path))

    def fails(folder: Path) -> None:
        (folder / "half").touch()
        raise PartMissingError("no compiler")

    with pytest.raises(PartMissingError):
        cache.provide("part", fails)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_fails_says_what_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RuntimeError, match="pip could not download no-such-part==1"):
        cache.download(["no-such-part==1"], tmp_path)


def test_a_program_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCH_TEST_OLLAMA", "/no/such/ollama")
    with pytest.raises(PartMissingError, match="/no/such/ollama"):
        ollama_program()


def test_a_server_leaves_no_process(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with OllamaServer(tmp_path / "models") as server:
        assert server.version
        assert server.run("list").stdout.startswith("NAME")
        assert {child.pid for child in psutil.Process().children(recursive=True)} - before
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
