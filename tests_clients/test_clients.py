"""Official clients in other languages get from the shim what they get from the servers they were made for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.runtimes.llama_models import LlamaCppModel
from conch_ollama.runtimes.llama_server import LlamaCppRuntime
from conch_ollama.server.settings import Settings
from tests.runtimes.places import CALL, TEXT, THOUGHT, write_models
from tests.server.running import RunningShim
from tests_clients.client_parts import java_home, node, node_modules, spring_jars

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningShim]:
    files = write_models(tmp_path_factory.mktemp("models"))
    models = [LlamaCppModel(name, path, num_ctx=2048, slots=2, threads=1) for name, path in files.items()]
    with RunningShim(lambda: {"llama.cpp": LlamaCppRuntime(models)}, Settings(default_model="plain")) as running:
        yield running


def run_node(script: str, url: str, folder: Path) -> Any:
    """Scripts stand beside the packages, where Node looks for them."""
    shutil.copy(HERE / script, folder / script)
    (folder / "node_modules").symlink_to(node_modules() / "node_modules")
    done = subprocess.run(
        [*node(), script, url], cwd=folder, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_openai_for_node(shim: RunningShim, tmp_path: Path) -> None:
    found = run_node("openai_client.mjs", shim.url, tmp_path)
    assert set(found["models"]) >= {"plain", "tools"}
    assert found["whole"] == found["streamed"] == TEXT
    assert found["finish"] == ["stop"]
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [found["usage"][key] for key in counts] == [found["streamedUsage"][key] for key in counts]
    assert found["usage"]["total_tokens"] == found["usage"]["prompt_tokens"] + found["usage"]["completion_tokens"] > 0
    assert found["calls"] == [["get_weather", json.loads(CALL)["arguments"]]]
    assert found["reasoning"].strip() == THOUGHT
    thought, arguments = found["response"]
    assert (thought.strip(), arguments) == (THOUGHT, json.loads(CALL)["arguments"])
    assert found["error"] == {"status": 404, "code": "model_not_found", "type": "NotFoundError"}
    assert found["pieces"] == 2
    assert found["after"]


def test_ollama_for_node(shim: RunningShim, tmp_path: Path) -> None:
    found = run_node("ollama_client.mjs", shim.url, tmp_path)
    assert {name.partition(":")[0] for name in found["models"]} >= {"plain", "tools"}
    assert {"general.architecture", "general.parameter_count"} <= set(found["shown"])
    assert found["whole"] == found["streamed"] == found["generated"] == TEXT
    assert found["done"] == "stop"
    assert found["calls"] == [["get_weather", json.loads(CALL)["arguments"]]]
    assert found["thinking"].strip() == THOUGHT
    assert found["error"]["status"] == 404
    assert "nobody" in found["error"]["text"]
    assert {name.partition(":")[0] for name in found["running"]} >= {"plain"}


def test_rest_template_of_spring(shim: RunningShim, tmp_path: Path) -> None:
    home = java_home()
    tools = [str(home / "bin" / name) if home else name for name in ("javac", "java")]
    path = os.pathsep.join([str(tmp_path), *map(str, spring_jars())])
    subprocess.run(
        [tools[0], "-encoding", "UTF-8", "-cp", path, "-d", str(tmp_path), str(HERE / "SpringClient.java")],
        check=True,
        capture_output=True,
    )
    done = subprocess.run(
        [tools[1], "-cp", path, "SpringClient", shim.url],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert json.loads(lines["GET"])["generated_text"] == TEXT
    assert lines["MAP"] == f"{TEXT} | {TEXT}"
    assert lines["POST"] and TEXT.startswith(lines["POST"])
    assert lines["TYPE"].replace(" ", "").lower() == "application/json;charset=utf-8"
    assert lines["ERROR"] == "404"
