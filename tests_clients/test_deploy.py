"""Files for running the shim for others: Compose takes them, conch takes its configurations, its metrics are there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conch_ollama.runtimes.protocol import Runtime
from conch_ollama.server.app import make_app
from conch_ollama.server.listen import check_exposure
from conch_ollama.server.settings import Settings
from conch_ollama.workflows.serve_config import ConfigFile
from tests.parts.cache import provide
from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim
from tests_clients.client_parts import unpack_debian

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSE = (
    *("docker-compose", "python3-docker", "python3-dockerpty", "python3-docopt", "python3-dotenv"),
    *("python3-jsonschema", "python3-texttable", "python3-websocket", "python3-yaml", "python3-distro", "python3-attr"),
    *("python3-pyrsistent", "python3-pkg-resources", "python3-requests", "python3-urllib3", "python3-chardet"),
    *("python3-charset-normalizer", "python3-idna", "python3-certifi", "python3-six", "python3-packaging"),
)
PROGRAM = "import sys; sys.argv[0] = 'docker-compose'; from compose.cli.main import main; main()"


@pytest.mark.parametrize("name", ["compose.ollama.yaml", "compose.vllm.yaml"])
def test_compose_takes_it(name: str) -> None:
    """Debian's docker-compose, unpacked, not installed; it needs no Docker to read a file."""
    packages = provide("docker-compose-debian", lambda folder: unpack_debian(folder, COMPOSE))
    done = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM, "-f", str(DEPLOY / name), "config"],
        env={**os.environ, "PYTHONPATH": str(packages / "usr/lib/python3/dist-packages")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert "conch" in services
    for service in services.values():
        for volume in service.get("volumes", []):
            source = Path(str(volume).partition(":")[0])
            if source.is_relative_to(DEPLOY) and source.name != "hf":
                assert source.exists(), f"{source} is mounted and not there"
                assert source.name not in {"conch.toml", "keys.json"}, "renamed over, it would stay the old one"


@pytest.mark.parametrize("name", ["ollama/conch.toml", "vllm/conch.toml"])
def test_conch_takes_its_configuration(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_KEY", "inside")
    plan = ConfigFile(DEPLOY / name).read()
    check_exposure(plan.settings)  # would refuse an address for others without keys
    assert set(plan.settings.models) == {"magic-conch"}
    assert plan.settings.security.keys == DEPLOY / name.partition("/")[0] / "keys.json"


def test_alerts_and_dashboard_ask_for_metrics_that_there_are() -> None:
    runtimes: dict[str, Runtime] = {"made": MadeRuntime()}
    with RunningShim(runtimes) as running:
        body = {"model": "made", "messages": [{"role": "user", "content": "hi"}]}
        answer = running.client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200
        rated = {"id": answer.json()["id"], "rating": "up"}
        running.client.post("/v1/feedback", json=rated)
        text = running.client.get("/metrics").text
    known = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    known |= {f"{name}_bucket" for name in known}
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    queries = [rule["expr"] for rule in rules]
    dashboard = json.loads((DEPLOY / "grafana/dashboard.json").read_text(encoding="utf-8"))
    queries += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(queries) > 15
    asked = {name for query in queries for name in re.findall(r"\bconch_\w+", query)}
    assert asked <= known, asked - known


def test_the_dashboard_is_the_one_that_its_script_writes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import json, make_dashboard; print(json.dumps(make_dashboard.dashboard()))"],
        cwd=DEPLOY,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert json.loads(done.stdout) == json.loads((DEPLOY / "grafana/dashboard.json").read_text(encoding="utf-8"))


def test_the_unit_runs_what_there_is() -> None:
    unit = (DEPLOY / "conch.service").read_text(encoding="utf-8")
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    arguments = command.partition("bin/conch ")[2].split()
    done = subprocess.run(
        [sys.executable, "-m", "conch_ollama", *arguments], capture_output=True, encoding="utf-8", check=False
    )
    # It fails for the missing file, not for an option.
    assert done.returncode == 1
    assert "/etc/conch/conch.toml" in done.stderr


def test_an_openapi_document_is_there() -> None:
    assert "/v1/chat/completions" in make_app(Settings(), {}).openapi()["paths"]
